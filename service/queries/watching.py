"""Looks at jobs until they have ended: how far each is, and how long the rest will take."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from sqlalchemy import ColumnElement

from models.database import Database
from models.state import JobState
from service.queries.estimate import Estimate, estimate_remaining
from service.queries.progress import measure_progress
from service.queries.rows import Progress
from service.queries.waiting import retry_while_unreachable
from service.queries.workers import is_paused, list_workers

_LOOK_SECONDS = 1.0
_ESTIMATE_SECONDS = 5.0
#: Of more jobs that run, these are shown.
_MOST_RUNNING = 1000


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
        """Whether some jobs are not at their end."""
        return self.progress.open_jobs > 0

    @property
    def obstacle(self) -> str | None:
        """Why nothing is started, with what to type, or None."""
        if not self.progress.states[JobState.QUEUED]:
            return None
        if self.is_paused:
            return "The queue is paused. Type: dq resume"
        return (
            None if self.workers else "No worker is running. Type, in another terminal: dq worker"
        )


def watch(database: Database, which: ColumnElement[bool]) -> Iterator[Snapshot]:
    """Yield a look at the selected jobs now and every second, the last one when all have ended."""
    rest, due_at = None, 0.0
    while True:
        if rest is None or time.monotonic() > due_at:
            rest = retry_while_unreachable(lambda: estimate_remaining(database, which))
            due_at = time.monotonic() + _ESTIMATE_SECONDS
        snapshot = retry_while_unreachable(partial(_take_snapshot, database, which, rest))
        yield snapshot
        if not snapshot.is_open:
            return
        time.sleep(_LOOK_SECONDS)


def _take_snapshot(database: Database, which: ColumnElement[bool], rest: Estimate) -> Snapshot:
    return Snapshot(
        at=datetime.now(UTC),
        progress=measure_progress(database, which, _MOST_RUNNING),
        rest=rest,
        workers=sum(worker.is_alive for worker in list_workers(database)),
        is_paused=is_paused(database),
    )
