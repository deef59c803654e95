"""Messages that come late: their jobs were taken along with another, and need nobody any more."""

from collections.abc import Collection

from sqlalchemy import bindparam, select

from models.database import Database
from models.errors import DatabaseUnreachable
from models.state import JobState
from models.tables import Job

_PASSED = select(Job.id).where(
    Job.id.in_(bindparam("job_ids", expanding=True)), Job.packed, Job.state != JobState.QUEUED
)


class LateMessages:
    """Tells late messages before they go the long way to the child, which would drop them, too."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, job_ids: Collection[int]) -> set[int]:
        """Return which jobs were taken along with others and run or have ended.

        Each may wait again later: this holds of messages that were there before it was asked. None
        is late if the database does not answer: the child then waits for it.
        """
        try:
            with self._database.reading() as session:
                return set(session.scalars(_PASSED, {"job_ids": job_ids}))
        except DatabaseUnreachable:
            return set()
