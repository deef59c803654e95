"""Versions of what a page shows: another text whenever the page would be another."""

from sqlalchemy import func, select

from models.database import Database
from models.tables import Job, LogLine, Pause, Sweep, Worker
from service.queries.selectors import open_condition


def read_queue_version(database: Database) -> str:
    """Return the version of the queue: open jobs, their epochs, workers, and all log lines."""
    progress = select(func.count(), func.sum(Job.epochs_done), func.sum(Job.priority)).where(
        open_condition()
    )
    newest = select(func.max(LogLine.id), select(func.max(Sweep.id)).scalar_subquery())
    with database.reading() as session:
        workers = session.execute(select(Worker.id, Worker.state).order_by(Worker.id)).all()
        return repr(
            (
                session.execute(progress).one(),
                session.execute(newest).one(),
                session.get(Pause, 1) is not None,
                hash(tuple(tuple(row) for row in workers)),
            )
        )


def read_job_version(database: Database, job_id: int) -> str:
    """Return the version of a job; that of a job that does not exist never changes."""
    job = select(
        Job.state, Job.attempt, Job.epochs_done, Job.batches_done, Job.cancel_requested, Job.held
    )
    line = select(func.max(LogLine.id)).where(LogLine.job_id == job_id)
    with database.reading() as session:
        found = session.execute(job.where(Job.id == job_id)).one_or_none()
        return repr((found, session.scalar(line)))
