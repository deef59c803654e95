"""Follows jobs until they have ended: how far each is, and how long the rest will take."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
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
        return _describe_obstacle(self.progress, self.workers, self.is_paused)


def follow(
    database: Database, which: ColumnElement[bool], timeout: float | None = None
) -> Iterator[Progress]:
    """Yield the progress of the selected jobs twice a second, the last time when all have ended.

    Raises WaitTimedOut if that takes longer than `timeout` seconds.
    """
    started_at = time.monotonic()
    while True:
        progress = _retry(lambda: measure_progress(database, which))
        yield progress
        if not progress.open_jobs:
            return
        if timeout and time.monotonic() - started_at > timeout:
            raise _timed_out(progress, timeout)
        time.sleep(_POLL_SECONDS)


def watch(database: Database, which: ColumnElement[bool]) -> Iterator[Snapshot]:
    """Yield a snapshot of the selected jobs as often as `follow` yields their progress."""
    rest, due_at = None, 0.0
    for progress in follow(database, which):
        if rest is None or time.monotonic() > due_at:
            rest = _retry(lambda: estimate_remaining(database, which))
            due_at = time.monotonic() + _ESTIMATE_SECONDS
        workers, paused = _retry(lambda: _read_supply(database))
        yield Snapshot(datetime.now(UTC), progress, rest, workers, paused)


def find_obstacle(database: Database, progress: Progress) -> str | None:
    """Return why no job is started, with what to type, or None."""
    return _describe_obstacle(progress, *_retry(lambda: _read_supply(database)))


def _read_supply(database: Database) -> tuple[int, bool]:
    """Return how many workers are alive, and whether the queue is paused."""
    return sum(worker.is_alive for worker in list_workers(database)), is_paused(database)


def _describe_obstacle(progress: Progress, workers: int, paused: bool) -> str | None:
    if paused and progress.states[JobState.QUEUED]:
        return "The queue is paused. Type: dq resume"
    if progress.open_jobs and not workers:
        return "No worker is running. Type, in another terminal: dq worker"
    return None


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
