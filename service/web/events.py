"""Server-sent events: a page learns here that it is out of date, and then asks for itself anew."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Annotated

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse

from models.database import Database
from models.errors import DqError
from service.queries.versions import read_job_version, read_queue_version
from service.web.context import Here, Ours
from service.web.params import MOST_ID

router = APIRouter(include_in_schema=False)

#: A page of more viewers than this asks by itself, every few seconds.
MOST_STREAMS = 200
_LOOK_SECONDS = 1.0
#: How soon a stream sees that the server is to stop.
_STEP_SECONDS = 0.25
#: A heartbeat's age, an ETA: what changes though nothing happened.
_REFRESH_SECONDS = 10.0


class Pulse:
    """The marks of what pages show, each looked up once a second for all that watch it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._marks: dict[int | None, tuple[float, str]] = {}
        self._streams = 0

    def look(self, database: Database, job_id: int | None) -> str:
        """Return the mark of a job, or of the queue; "" while the database does not answer."""
        with self._lock:
            looked_at, mark = self._marks.get(job_id, (0.0, ""))
            if time.monotonic() - looked_at < _LOOK_SECONDS:
                return mark
            mark = _read(database, job_id)
            self._marks[job_id] = time.monotonic(), mark
            return mark

    @contextmanager
    def watching(self, job_id: int | None) -> Iterator[None]:
        """Count a stream, and forget its mark when the last one ends."""
        self._streams += 1
        try:
            yield
        finally:
            self._streams -= 1
            if not self._streams:
                self._marks.clear()

    @property
    def is_full(self) -> bool:
        """Whether there are as many streams as one server holds."""
        return self._streams >= MOST_STREAMS


def _read(database: Database, job_id: int | None) -> str:
    try:
        return (
            read_queue_version(database) if job_id is None else read_job_version(database, job_id)
        )
    except DqError:
        return ""


@router.get("/stream")
async def stream(
    request: Request, here: Ours, job: Annotated[int | None, Query(ge=1, le=MOST_ID)] = None
) -> StreamingResponse:
    """Send an event whenever the queue, or a job, is not as it was."""
    pulse: Pulse = request.app.state.pulse
    if pulse.is_full:
        raise HTTPException(
            503, "Too many pages are open: this one updates every few seconds instead"
        )
    unbuffered = {"x-accel-buffering": "no"}  # nginx would keep events back
    return StreamingResponse(
        _tell(here, pulse, job), media_type="text/event-stream", headers=unbuffered
    )


async def _tell(here: Here, pulse: Pulse, job_id: int | None) -> AsyncIterator[str]:
    """Yield events until the server is to stop; whoever leaves ends it too."""
    with pulse.watching(job_id):
        told, told_at = await run_in_threadpool(pulse.look, here.database, job_id), time.monotonic()
        yield "retry: 2000\nevent: hello\ndata: 1\n\n"
        while not here.is_stopping():
            await asyncio.sleep(_STEP_SECONDS)
            mark = await run_in_threadpool(pulse.look, here.database, job_id)
            if mark != told or time.monotonic() - told_at > _REFRESH_SECONDS:
                told, told_at = mark, time.monotonic()
                yield "event: change\ndata: 1\n\n"
