"""Deletes what grows with the jobs that have ended: their epochs but the last, and their logs."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, delete, exists, select
from sqlalchemy.orm import Session

from models.clock import from_now
from models.database import Database
from models.state import FINAL_STATES
from models.tables import Epoch, Job, LogLine
from service.jobs.batches import BULK, Jobs, OnProgress, change_in_batches, ignore_progress
from service.queries.selectors import ids_condition

#: A job may have thousands of epochs.
_FIRST_BATCH = 200


def prunable_condition(older_than_seconds: float) -> ColumnElement[bool]:
    """Return the condition for the jobs that ended so long ago and still have a log."""
    has_log = exists(select(LogLine.id).where(LogLine.job_id == Job.id))
    ended = Job.state.in_(FINAL_STATES), Job.finished_at < from_now(-older_than_seconds)
    return ended[0] & ended[1] & has_log


def prune(
    database: Database, which: ColumnElement[bool], on_progress: OnProgress = ignore_progress
) -> int:
    """Delete all epochs but the last, and the log, of jobs that have ended; return how many jobs.

    Results, attempts and checkpoints stay.
    """
    return sum(
        map(len, change_in_batches(database, which, _prune, on_progress, first=_FIRST_BATCH))
    )


def _prune(session: Session, jobs: Jobs) -> Sequence[int]:
    job_ids = [job.id for job in jobs]
    these = select(Job.id).where(ids_condition(job_ids))
    last = select(Job.epochs_done).where(Job.id == Epoch.job_id).scalar_subquery()
    for rows in (
        delete(Epoch).where(Epoch.job_id.in_(these), Epoch.epoch < last),
        delete(LogLine).where(LogLine.job_id.in_(these)),
    ):
        session.execute(rows, execution_options=BULK)
    return job_ids
