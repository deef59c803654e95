"""Changes many jobs, a batch per transaction, so that no other writer waits for long."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from sqlalchemy import ColumnElement, Row, select
from sqlalchemy.orm import Session

from models.database import Database
from models.tables import Job
from service.queries.jobs import list_ids

#: The id, state and `held` of some jobs.
Jobs = Sequence[Row[int, str, bool]]
#: Called after each batch with how many jobs are done, and of how many.
OnProgress = Callable[[int, int], None]
Changed = TypeVar("Changed")

#: For statements on many rows: no object of them is in the session.
BULK = {"synchronize_session": False}
_FIRST, _MIN, _MAX = 2000, 500, 5000
_GOAL_SECONDS = 0.4
#: A process that waits for SQLite's file tries again every 100 ms at the latest.
_GAP_SECONDS = 0.12


class BatchSize:
    """The number of jobs in the next transaction, adjusted by how long the last one took."""

    def __init__(self, first: int = _FIRST) -> None:
        self.jobs = first

    def learn(self, seconds: float) -> None:
        """Take as many jobs as would have met the goal."""
        wanted = int(self.jobs * _GOAL_SECONDS / max(seconds, 0.01))
        self.jobs = min(_MAX, max(_MIN, wanted))


def ignore_progress(_: int, __: int) -> None:
    """Report nothing."""


def change_in_batches(
    database: Database,
    which: ColumnElement[bool],
    change: Callable[[Session, Jobs], Changed],
    on_progress: OnProgress,
    *,
    first: int = _FIRST,
) -> Iterator[Changed]:
    """Apply a change to the selected jobs, and yield what it returns for each batch.

    It gets jobs that are still selected, with their rows locked. A batch is committed when it is
    yielded.
    """
    ids = list_ids(database, which)
    size, done = BatchSize(first), 0
    while done < len(ids):
        batch, started_at = ids[done : done + size.jobs], time.monotonic()
        with database.writing() as session:
            here = which & Job.id.between(batch[0], batch[-1])
            chosen = select(Job.id, Job.state, Job.held).where(here).order_by(Job.id)
            changed = change(session, session.execute(chosen.with_for_update()).all())
        size.learn(time.monotonic() - started_at)
        done += len(batch)
        on_progress(done, len(ids))
        yield changed
        if done < len(ids):
            give_way(database)


def give_way(database: Database) -> None:
    """Let other writers have SQLite's file, for which there is no queue."""
    if database.is_sqlite:
        time.sleep(_GAP_SECONDS)
