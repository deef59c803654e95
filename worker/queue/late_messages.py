"""Finds the messages that come late: their jobs were claimed together with another."""

from collections.abc import Collection

from sqlalchemy import bindparam, select

from models.database import Database
from models.errors import DatabaseUnreachable
from models.state import JobState
from models.tables import Job

_CLAIMED = select(Job.id).where(
    Job.id.in_(bindparam("job_ids", expanding=True)), Job.packed, Job.state != JobState.QUEUED
)


class LateMessages:
    """Finds late messages before they reach the child, which would drop them, too, but slower."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, job_ids: Collection[int]) -> set[int]:
        """Return which jobs were claimed with others, and run or have ended; none in an outage.

        The answer holds for messages that were sent before: a job may be queued again later.
        """
        try:
            with self._database.reading() as session:
                return set(session.scalars(_CLAIMED, {"job_ids": list(job_ids)}))
        except DatabaseUnreachable:
            return set()
