"""Server-sent events, which tell a page that it is out of date and should load itself again."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.sse import EventSourceResponse, ServerSentEvent

from models.database import Database
from models.errors import DqError
from service.queries.versions import read_job_version, read_queue_version
from service.web.context import ContextParam
from service.web.params import MAX_ID

router = APIRouter(include_in_schema=False)

#: A page that gets no stream polls every few seconds.
MAX_STREAMS = 200
_READ_SECONDS = 1.0
#: How soon a stream sees that the server is stopping.
_STEP_SECONDS = 0.25
#: For what changes by itself, such as the age of a heartbeat or the time left.
_REFRESH_SECONDS = 10.0


class Streams:
    """The open streams, and the versions of what they show, each read once a second for all."""

    def __init__(self) -> None:
        self.count = 0
        self._lock = threading.Lock()
        self.versions: dict[int | None, tuple[float, str]] = {}

    def read_version(self, database: Database, job_id: int | None) -> str:
        """Return the version of a job, or of the queue; "" while the database does not answer."""
        with self._lock:
            read_at, version = self.versions.get(job_id, (0.0, ""))
            if time.monotonic() - read_at >= _READ_SECONDS:
                version = _read_version(database, job_id)
                self.versions[job_id] = time.monotonic(), version
            return version


def _read_version(database: Database, job_id: int | None) -> str:
    try:
        if job_id is None:
            return read_queue_version(database)
        return read_job_version(database, job_id)
    except DqError:
        return ""


async def count_stream(request: Request) -> AsyncIterator[Streams]:
    """Count a stream until it ends; refuse one more than the server holds."""
    streams: Streams = request.app.state.streams
    if streams.count >= MAX_STREAMS:
        raise HTTPException(
            503, "Too many pages are open: this one updates every few seconds instead"
        )
    streams.count += 1
    try:
        yield streams
    finally:
        streams.count -= 1
        if not streams.count:
            streams.versions.clear()  # else they would grow with every job that is watched


@router.get("/stream", response_class=EventSourceResponse)
async def stream(
    context: ContextParam,
    streams: Annotated[Streams, Depends(count_stream)],
    job: Annotated[int | None, Query(ge=1, le=MAX_ID)] = None,
) -> AsyncIterator[ServerSentEvent]:
    """Send an event whenever the queue, or a job, changes."""
    sent = await run_in_threadpool(streams.read_version, context.database, job)
    sent_at = time.monotonic()
    yield ServerSentEvent(event="hello", data=1, retry=2000)
    while not context.is_stopping():
        await asyncio.sleep(_STEP_SECONDS)
        version = await run_in_threadpool(streams.read_version, context.database, job)
        if version != sent or time.monotonic() - sent_at > _REFRESH_SECONDS:
            sent, sent_at = version, time.monotonic()
            yield ServerSentEvent(event="change", data=1)
