"""Follows jobs until they have ended: how far each is, and how long the rest will take."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

from sqlalchemy import ColumnElement

from models.database import Database
from models.errors import DatabaseRefused, DatabaseUnreachable, WaitTimedOut
from models.state import JobState
from service.formatting import plural
from service.queries.estimate import Estimate, estimate_remaining
from service.queries.progress import measure_progress
from service.queries.rows import Progress
from service.queries.workers import is_paused, list_workers

_POLL_SECONDS = 0.5
_ESTIMATE_SECONDS = 5.0
#: How long the database may be away, as when it restarts.
_OUTAGE_SECONDS = 60.0

_Answer = TypeVar("_Answer")


@dataclass(frozen=True)
class Snapshot:
    """How far some jobs are at one moment."""

    at: datetime
    progress: Progress
    #: Of all that is left.
    rest: Estimate
    #: Workers that are alive, also those that only finish their job.
    workers: int
    is_paused: bool

    @property
    def is_open(self) -> bool:
        """Whether some jobs have not ended."""
        return self.progress.open_jobs > 0

    @property
    def obstacle(self) -> str | None:
        """Why no job is started, with what to type, or None."""
        if self.is_paused and self.progress.states[JobState.QUEUED]:
            return "The queue is paused. Type: dq resume"
        if self.is_open and not self.workers:
            return "No worker is running. Type, in another terminal: dq worker"
        return None


def watch(
    database: Database, which: ColumnElement[bool], timeout: float | None = None
) -> Iterator[Snapshot]:
    """Yield a snapshot of the selected jobs twice a second, the last one when all have ended.

    Raises WaitTimedOut if that takes longer than `timeout` seconds.
    """
    started_at = time.monotonic()
    rest, due_at = None, started_at
    while True:
        if rest is None or time.monotonic() > due_at:
            rest = _retry(lambda: estimate_remaining(database, which))
            due_at = time.monotonic() + _ESTIMATE_SECONDS
        snapshot = _retry(partial(_take_snapshot, database, which, rest))
        yield snapshot
        if not snapshot.is_open:
            return
        if timeout and time.monotonic() - started_at > timeout:
            raise _timed_out(snapshot.progress, timeout)
        time.sleep(_POLL_SECONDS)


def _take_snapshot(database: Database, which: ColumnElement[bool], rest: Estimate) -> Snapshot:
    return Snapshot(
        at=datetime.now(UTC),
        progress=measure_progress(database, which),
        rest=rest,
        workers=sum(worker.is_alive for worker in list_workers(database)),
        is_paused=is_paused(database),
    )


def _retry(query: Callable[[], _Answer]) -> _Answer:
    """Return what a query returns; while the database does not answer, try it again."""
    deadline = time.monotonic() + _OUTAGE_SECONDS
    while True:
        try:
            return query()
        except DatabaseRefused:
            raise
        except DatabaseUnreachable:
            if time.monotonic() > deadline:
                raise
            time.sleep(_POLL_SECONDS)


def _timed_out(progress: Progress, timeout: float) -> WaitTimedOut:
    are = "is" if progress.open_jobs == 1 else "are"
    return WaitTimedOut(
        f"{progress.open_jobs:,} of {plural(progress.jobs, 'job')} {are} not done after "
        f"{timeout:g} s. They go on. Type: dq status"
    )
