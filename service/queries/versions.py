"""A short mark of how things stand, which is another one whenever a page would be."""

from sqlalchemy import func, select

from models.database import Database
from models.tables import Job, LogLine, Pause, Sweep, Worker
from service.queries.selectors import open_condition


def read_queue_version(database: Database) -> str:
    """Return a mark of the queue: open jobs, their epochs, workers, and all that was logged."""
    progress = select(func.count(), func.sum(Job.epochs_done), func.sum(Job.priority)).where(
        open_condition()
    )
    seen = select(func.max(LogLine.id), select(func.max(Sweep.id)).scalar_subquery())
    with database.reading() as session:
        workers = session.execute(select(Worker.id, Worker.state).order_by(Worker.id)).all()
        facts = (
            tuple(session.execute(progress).one()),
            tuple(session.execute(seen).one()),
            session.get(Pause, 1) is not None,
            hash(tuple(tuple(row) for row in workers)),
        )
    return repr(facts)


def read_job_version(database: Database, job_id: int) -> str:
    """Return a mark of a job; that of a job that is not there never changes."""
    job = select(
        Job.state, Job.attempt, Job.epochs_done, Job.batches_done, Job.cancel_requested, Job.held
    )
    line = select(func.max(LogLine.id)).where(LogLine.job_id == job_id)
    with database.reading() as session:
        found = session.execute(job.where(Job.id == job_id)).one_or_none()
        return repr((found and tuple(found), session.scalar(line)))
