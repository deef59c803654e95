"""How far jobs are, and how long those that run still take."""

from collections.abc import Iterable, Sequence

from sqlalchemy import ColumnElement, case, func, select

from models.database import Database
from models.state import JobState
from models.tables import Job
from service.queries import spec_columns
from service.queries.job_rows import count_states_in, fetch_job_rows, select_jobs
from service.queries.rows import JobRow, Progress

#: At most this many of the running jobs are read.
_MOST_RUNNING = 1000


def measure_progress(database: Database, which: ColumnElement[bool]) -> Progress:
    """Return how far the selected jobs are, with those that run, oldest first."""
    epochs = spec_columns.column("epochs")
    done = case((Job.state == JobState.SUCCEEDED, epochs), else_=Job.epochs_done)
    with database.reading() as session:
        totals = select(func.coalesce(func.sum(done), 0), func.coalesce(func.sum(epochs), 0))
        epochs_done, epochs_in_all = session.execute(totals.where(which)).one()
        running = select_jobs(which).where(Job.state == JobState.RUNNING).order_by(Job.id)
        return Progress(
            states=count_states_in(session, which),
            epochs_done=int(epochs_done),
            epochs=int(epochs_in_all),
            running=tuple(fetch_job_rows(session, running.limit(_MOST_RUNNING))),
        )


def measure_left(running: Sequence[JobRow]) -> dict[int, float | None]:
    """Return by job for how many seconds it still runs; None before its first epoch.

    Jobs of one worker are a pack: they train together, and each takes its share of an epoch's time.
    """
    packs: dict[str | None, list[JobRow]] = {}
    for job in running:
        packs.setdefault(job.worker, []).append(job)
    return {job.job_id: _measure_left(job, packs[job.worker]) for job in running}


def _measure_left(job: JobRow, pack: Iterable[JobRow]) -> float | None:
    if job.epoch_seconds is None:
        return None
    return sum(min(each.epochs_left, job.epochs_left) * (each.epoch_seconds or 0) for each in pack)
