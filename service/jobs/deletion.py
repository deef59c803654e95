"""Deletes jobs that have ended, with their epochs, logs and checkpoints."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import ColumnElement, delete, exists, func, select
from sqlalchemy.orm import Session

from models.database import Database
from models.errors import UsageError
from models.state import FINAL_STATES
from models.tables import Attempt, Epoch, Job, LogLine, Result, Sweep, SweepMember, Tag
from service.formatting import format_ids, plural
from service.jobs.batches import BULK, Jobs, OnProgress, change_in_batches, ignore_progress
from service.jobs.ids import keep_newest_id
from service.queries.jobs import list_ids
from service.queries.selectors import ids_condition, open_condition

#: The tables that refer to a job.
_TABLES = (Epoch, Result, Attempt, LogLine, Tag, SweepMember)
#: A job may have thousands of epochs.
_FIRST_BATCH = 200


@dataclass(frozen=True)
class Deleted:
    """The deleted jobs, and how many of them have their checkpoints on another host."""

    job_ids: tuple[int, ...]
    checkpoints_elsewhere: int


def delete_jobs(
    database: Database,
    which: ColumnElement[bool],
    checkpoints: Path,
    on_progress: OnProgress = ignore_progress,
) -> Deleted:
    """Delete jobs, their checkpoints, and the sweeps that this empties.

    Their ids are never used again. Raises UsageError if one of the jobs has not ended.
    """
    _refuse_open(list_ids(database, which & open_condition()))
    deleted, elsewhere = list[int](), 0
    for job_ids, saved in change_in_batches(
        database, which, _delete, on_progress, first=_FIRST_BATCH
    ):
        elsewhere += sum(not (checkpoints / str(job_id)).is_dir() for job_id in saved)
        for job_id in job_ids:
            shutil.rmtree(checkpoints / str(job_id), ignore_errors=True)
        deleted += job_ids
    _delete_empty_sweeps(database)
    return Deleted(tuple(deleted), elsewhere)


def _refuse_open(job_ids: Sequence[int]) -> None:
    if job_ids:
        they = "is" if len(job_ids) == 1 else "are"
        raise UsageError(
            f"{plural(len(job_ids), 'job')} of these {they} queued or running, and only jobs that "
            f"have ended can be deleted. Type: dq cancel {format_ids(job_ids).replace(', ', ' ')}"
        )


def _delete(session: Session, jobs: Jobs) -> tuple[Sequence[int], Sequence[int]]:
    """Delete rows; return the jobs, and those of them that had a checkpoint."""
    job_ids = [job.id for job in jobs if job.state in FINAL_STATES]
    these = ids_condition(job_ids)
    saved = session.scalars(select(Job.id).where(these, Job.checkpoint.is_not(None))).all()
    keep_newest_id(session)
    for table in _TABLES:
        of_jobs = table.job_id.in_(select(Job.id).where(these))
        session.execute(delete(table).where(of_jobs), execution_options=BULK)
    session.execute(delete(Job).where(these), execution_options=BULK)
    return job_ids, saved


def _delete_empty_sweeps(database: Database) -> None:
    """Delete empty sweeps but the newest, whose number SQLite would give to the next sweep."""
    has_jobs = exists().where(Job.sweep_id == Sweep.id)
    has_members = exists().where(SweepMember.sweep_id == Sweep.id)
    with database.writing() as session:
        newest = session.scalar(select(func.max(Sweep.id))) or 0
        empty = delete(Sweep).where(Sweep.id < newest, ~has_jobs, ~has_members)
        session.execute(empty, execution_options=BULK)
