# The images of docker-compose.yml: `redis` (the queue), `client` (dq without torch), `worker`, `flower`.
#
#   docker build --target worker --tag dq-worker .
#   docker build --target worker --tag dq-worker --build-arg TORCH_INDEX=URL .
#
# The first takes the CUDA build of torch. For a host without a GPU, URL is the index of CPU builds
# that pytorch.org names under "Get started": a tenth of the size.

FROM redis:7-bookworm AS redis
# Its own folder and its own user from the start: nothing is left for root to do at run time.
RUN install --directory --owner redis --group redis --mode 0700 /queue
COPY deploy/start-redis /usr/local/bin/start-redis
# By name, for the number differs from image to image.
# hadolint ignore=DL3066
USER redis
VOLUME /queue
ENTRYPOINT ["/usr/local/bin/start-redis"]

FROM python:3.11-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
# What dq needs, before dq itself: a change of the code must not fetch torch again.
COPY deploy/list_requirements.py pyproject.toml constraints.txt ./
RUN python -m venv /opt/dq \
 && python list_requirements.py web > web.txt \
 && /opt/dq/bin/pip install --no-cache-dir --constraint constraints.txt --requirement web.txt
COPY LICENSE README.md ./
COPY migrations migrations
COPY models models
COPY service service
COPY worker worker
RUN /opt/dq/bin/pip wheel --no-cache-dir --constraint constraints.txt --no-deps --wheel-dir . .

FROM build AS build-client
RUN /opt/dq/bin/pip install --no-cache-dir --no-deps ./*.whl

FROM build-client AS build-flower
RUN python list_requirements.py flower > flower.txt \
 && /opt/dq/bin/pip install --no-cache-dir --constraint constraints.txt --requirement flower.txt

FROM python:3.11-slim-bookworm AS build-worker
ARG TORCH_INDEX=""
ENV PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
COPY deploy/list_requirements.py pyproject.toml constraints.txt ./
RUN python -m venv /opt/dq \
 && python list_requirements.py worker > worker.txt \
 && PIP_EXTRA_INDEX_URL=$TORCH_INDEX /opt/dq/bin/pip install \
    --no-cache-dir --constraint constraints.txt --requirement worker.txt
COPY --from=build /src/*.whl ./
RUN /opt/dq/bin/pip install --no-cache-dir --no-deps ./*.whl

FROM python:3.11-slim-bookworm AS runtime
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /var/lib/dq dq \
 && install --directory --owner dq --group dq \
    /var/lib/dq /var/lib/dq/data /var/lib/dq/checkpoints
ENV PATH=/opt/dq/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    DQ_HOME=/var/lib/dq \
    DQ_DATA_DIR=/var/lib/dq/data \
    DQ_CHECKPOINT_DIR=/var/lib/dq/checkpoints
USER 10001:10001
WORKDIR /var/lib/dq
ENTRYPOINT ["dq"]

FROM runtime AS client
COPY --from=build-client /opt/dq /opt/dq
CMD ["status"]

FROM runtime AS flower
COPY --from=build-flower /opt/dq /opt/dq
COPY deploy/start_flower.py /usr/local/lib/start_flower.py
ENTRYPOINT ["python", "/usr/local/lib/start_flower.py"]

FROM runtime AS worker
COPY --from=build-worker /opt/dq /opt/dq
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
STOPSIGNAL SIGTERM
CMD ["worker"]
