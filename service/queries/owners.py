"""Who has jobs in the queue, and what each uses."""

from dataclasses import dataclass

from sqlalchemy import case, distinct, func, select
from sqlalchemy.orm import Session

from models.database import Database
from models.state import JobState
from models.tables import Job, Owner
from models.usage import count_hours, turn
from service.queries.selectors import open_condition


@dataclass(frozen=True)
class OwnerRow:
    """One owner of queued or running jobs."""

    owner: str
    queued: int
    running: int
    #: Workers that run them.
    workers: int
    #: Of training, in jobs that have ended; an hour a week ago counts half.
    hours: float


def list_owners(database: Database) -> list[OwnerRow]:
    """Return the owners of queued and running jobs, whose turn it is first."""
    with database.reading() as session:
        return list_owners_in(session)


def list_owners_in(session: Session) -> list[OwnerRow]:
    """Return the same, in a session."""
    counts = [
        func.sum(case((Job.state == state, 1), else_=0))
        for state in (JobState.QUEUED, JobState.RUNNING)
    ]
    busy = func.count(distinct(case((Job.state == JobState.RUNNING, Job.worker))))
    query = select(Owner.name, *counts, busy, Owner.used)
    query = query.join(Job, Job.owner == Owner.name).where(open_condition())
    found = session.execute(query.group_by(Owner.name, Owner.used)).all()
    rows = [
        OwnerRow(name, queued, running, workers, count_hours(used))
        for name, queued, running, workers, used in found
    ]
    return sorted(rows, key=lambda row: turn(row.workers, row.hours, row.owner))
