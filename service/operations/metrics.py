"""What Prometheus reads: the queue, the attempts, the reconcilers and the GPUs, out of SQL."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from models.database import Database
from service.extras import needing
from service.queries.monitoring import OperationalMetrics, read_operational_metrics

if TYPE_CHECKING:
    from prometheus_client import Metric

#: What `render` returns, for an HTTP answer.
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_REPAIRS = ("lost", "republished")


def render(database: Database) -> str:
    """Return all metrics in Prometheus' text format.

    They are read anew each time, and all from SQL: whichever process is asked, the answer is the
    same, and a restart resets no counter.
    """
    with needing("prometheus-client", "web", "This"):
        from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Snapshot(read_operational_metrics(database)))
    return generate_latest(registry).decode()


class _Snapshot:
    """A collector of one reading."""

    def __init__(self, operation: OperationalMetrics) -> None:
        self._operation = operation

    def collect(self) -> "Iterator[Metric]":
        """Return the metrics, as prometheus_client wants them."""
        yield from _queue(self._operation)
        yield from _work(self._operation)
        yield from _workers(self._operation)


def _queue(operation: OperationalMetrics) -> "Iterator[Metric]":
    from prometheus_client.core import GaugeMetricFamily

    jobs = GaugeMetricFamily("dq_jobs", "Jobs by state.", labels=["state"])
    for state, count in operation.states.items():
        jobs.add_metric([state], count)
    yield jobs
    yield GaugeMetricFamily(
        "dq_oldest_queued_seconds",
        "Age of the job that is queued longest; 0 if none is.",
        value=operation.oldest_queued_seconds or 0.0,
    )


def _work(operation: OperationalMetrics) -> "Iterator[Metric]":
    from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

    attempts = CounterMetricFamily(
        "dq_attempts", "Attempts by how they ended; lost is a crash.", labels=["outcome"]
    )
    for outcome, count in operation.attempts.items():
        attempts.add_metric([outcome], count)
    yield attempts
    repairs = CounterMetricFamily(
        "dq_reconciler_actions",
        "Jobs taken from silent workers (lost), or whose message was sent again (republished).",
        labels=["action"],
    )
    for action in _REPAIRS:
        repairs.add_metric([action], operation.repairs.get(action, 0))
    yield repairs
    buckets = [(str(float(limit)), count) for limit, count in operation.succeeded_within.items()]
    yield HistogramMetricFamily(
        "dq_job_seconds",
        "Seconds of training of the succeeded jobs.",
        buckets=[*buckets, ("+Inf", operation.succeeded)],
        sum_value=operation.succeeded_seconds,
    )


def _workers(operation: OperationalMetrics) -> "Iterator[Metric]":
    from prometheus_client.core import GaugeMetricFamily

    alive = GaugeMetricFamily(
        "dq_workers", "Workers with a fresh heartbeat.", labels=["host", "device"]
    )
    memory = GaugeMetricFamily(
        "dq_gpu_memory_bytes", "Memory of a GPU.", labels=["host", "device", "uuid", "kind"]
    )
    here = [worker for worker in operation.workers if worker.is_alive]
    places = [(worker.host, worker.device) for worker in here]
    for place in sorted(set(places)):
        alive.add_metric(list(place), places.count(place))
    gpus = {worker.device_uuid: worker for worker in here if worker.device_uuid}
    for uuid, worker in gpus.items():
        for kind, size in (("used", worker.memory_used), ("total", worker.memory_total)):
            if size is not None:
                memory.add_metric([worker.host, worker.device, uuid, kind], size)
    yield alive
    yield memory
