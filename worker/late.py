"""Messages that come late: their jobs were taken along with another, and need nobody any more."""

import time

from sqlalchemy import select

from models.database import Database
from models.errors import DatabaseUnreachable
from models.state import JobState
from models.tables import Job

#: One look tells of so many jobs: as a rule they were submitted, and are rung for, in a row.
_LOOKED_AT = 128
#: A success is for ever, but not for whoever restores a backup under our eyes.
_REMEMBERED_SECONDS = 3.0


class LateMessages:
    """Tells late messages before they go the long way to the child, which would drop them, too."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._succeeded: set[int] = set()
        self._looked_at = 0.0

    def is_late(self, job_id: int) -> bool:
        """Whether a job that was taken along with others runs or has ended.

        False also if the database does not answer: the child then waits for it.
        """
        if job_id in self._succeeded and time.monotonic() < self._looked_at + _REMEMBERED_SECONDS:
            return True
        try:
            return job_id in self._look(job_id)
        except DatabaseUnreachable:
            return False

    def _look(self, job_id: int) -> set[int]:
        """Return the packed jobs from this one on that do not wait; remember those that succeeded.

        Any other may wait again, and its next message must be heard.
        """
        packed = Job.id.between(job_id, job_id + _LOOKED_AT - 1), Job.packed
        passed = select(Job.id, Job.state).where(*packed, Job.state != JobState.QUEUED)
        with self._database.reading() as session:
            states = {row.id: row.state for row in session.execute(passed)}
        self._looked_at = time.monotonic()
        self._succeeded = {each for each, state in states.items() if state == JobState.SUCCEEDED}
        return set(states)
