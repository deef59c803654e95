"""Repairs what crashes leave behind. Every worker runs it; any number may run at once."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Select, func, select

from models import lifecycle
from models.clock import from_now, now
from models.database import Database
from models.errors import DatabaseUnreachable
from models.message import JobMessage
from models.state import JobState, WorkerState
from models.tables import Job, Repair, Worker
from worker.execution.claims import CLAIMABLE, IS_PAUSED
from worker.queue.publishing import Publisher

logger = logging.getLogger(__name__)
_BATCH = 500


@dataclass(frozen=True)
class Repairs:
    """How many jobs one pass repaired."""

    #: Taken from workers that fell silent.
    lost: int = 0
    #: For which a message was sent: fewer waited than workers were idle.
    republished: int = 0


class Reconciler:
    """Compares the rows with the clock and with Redis, and repairs what differs."""

    def __init__(self, database: Database, publisher: Publisher, lease_seconds: float) -> None:
        self._database, self._publisher = database, publisher
        self._lease_seconds = lease_seconds
        self._leases_count_from = 0.0

    def reconcile(self) -> Repairs:
        """Make one pass: idempotent, in short transactions."""
        try:
            return Repairs(lost=self._lose_expired(), republished=self._republish())
        except DatabaseUnreachable:
            # After an outage live workers first get the time to renew their leases.
            self._leases_count_from = time.monotonic() + self._lease_seconds
            raise

    def _lose_expired(self) -> int:
        if time.monotonic() < self._leases_count_from:
            return 0
        with self._database.writing() as session:
            jobs = session.scalars(_expired()).all()
            for job in jobs:
                ids = {"job_id": job.id, "attempt": job.attempt}
                logger.warning("job %s attempt %s: lease lost", *ids.values(), extra=ids)
                lifecycle.lose(session, job, f"{job.worker} fell silent")
            if jobs:
                session.add(Repair(at=now(), action="lost", jobs=len(jobs)))
            return len(jobs)

    def _republish(self) -> int:
        """Send the messages that idle workers lack, whatever became of those that were sent."""
        idle = self._count_idle_workers()
        lacking = idle - self._publisher.count_waiting() if idle else 0
        messages = self._list_some(lacking) if lacking > 0 else ()
        if messages:
            self._publisher.publish(messages)
            with self._database.writing() as session:
                session.add(Repair(at=now(), action="republished", jobs=len(messages)))
        return len(messages)

    def _count_idle_workers(self) -> int:
        busy = select(Job.worker).where(Job.state == JobState.RUNNING, Job.worker.is_not(None))
        idle = select(func.count()).where(
            Worker.state == WorkerState.ACTIVE,
            Worker.heartbeat_at > from_now(-self._lease_seconds),
            Worker.id.not_in(busy),
        )
        with self._database.reading() as session:
            return session.scalar(idle) or 0

    def _list_some(self, count: int) -> Sequence[JobMessage]:
        """Return the messages of some jobs that may be started; the claim says which is next."""
        jobs = select(Job.id, Job.spec).where(*CLAIMABLE, ~IS_PAUSED).limit(count)
        with self._database.reading() as session:
            return [JobMessage(*row) for row in session.execute(jobs)]


def _expired() -> Select[Job]:
    expired = Job.state == JobState.RUNNING, Job.lease_until < now()
    return select(Job).where(*expired).limit(_BATCH).with_for_update(skip_locked=True)
