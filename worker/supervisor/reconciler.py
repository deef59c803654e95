"""Repairs what crashes leave behind. Every worker runs it; any number may run at once."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Select, exists, func, select, update
from sqlalchemy.sql.dml import Update

from models import lifecycle
from models.clock import from_now, now
from models.database import Database
from models.errors import BrokerUnreachable, DatabaseUnreachable
from models.message import OVERDUE_SECONDS, JobMessage
from models.state import JobState
from models.tables import Job, Pause, Repair
from worker.queue.publishing import Publisher

logger = logging.getLogger(__name__)
_BATCH = 500
_QUEUED = Job.state == JobState.QUEUED, Job.held.is_(False)


@dataclass(frozen=True)
class Repairs:
    """How many jobs one pass repaired."""

    #: Taken from workers that fell silent.
    lost: int = 0
    #: Whose message was sent again.
    republished: int = 0


class Reconciler:
    """Compares the rows with the clock and with Redis, and repairs what differs."""

    def __init__(self, database: Database, publisher: Publisher, lease_seconds: float) -> None:
        self._database, self._publisher = database, publisher
        self._lease_seconds = lease_seconds
        self._leases_count_from = 0.0
        self._knows_redis = False

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
        may_have_lost = self._publisher.may_have_lost_messages()
        waiting = self._publisher.count_waiting()
        has_lost = may_have_lost and waiting < self._count_queued()
        if has_lost:
            self._make_all_due()
        republished = self._publish_due(everything=has_lost or not waiting)
        if may_have_lost:
            self._publisher.mark_complete()
        if has_lost and republished and self._knows_redis:  # to a new worker, any Redis is new
            logger.warning("Redis was wiped or restarted: sent %s queued jobs again", republished)
        self._knows_redis = True
        return republished

    def _publish_due(self, *, everything: bool) -> int:
        began, published = self._read_clock(), 0
        while messages := self._take_due(everything, began):
            self._publish(messages)
            published += len(messages)
        if published:
            with self._database.writing() as session:
                session.add(Repair(at=now(), action="republished", jobs=published))
        return published

    def _count_queued(self) -> int:
        """Return how many messages should wait in Redis, or were taken just now."""
        with self._database.reading() as session:
            return session.scalar(select(func.count()).where(*_QUEUED)) or 0

    def _make_all_due(self) -> None:
        with self._database.writing() as session:
            session.execute(_every_queued().values(publish_due=now(), publish_count=0))

    def _read_clock(self) -> datetime:
        with self._database.reading() as session:
            return session.scalars(select(now())).one()

    def _take_due(self, everything: bool, began: datetime) -> Sequence[JobMessage]:
        """Return the messages of some jobs that were due when the pass began; postpone the next.

        A message that was sent may still wait behind others: only an empty queue proves that it
        is lost. So it is sent again only with `everything`.
        """
        with self._database.writing() as session:
            jobs = session.scalars(_due(everything, began)).all()
            for job in jobs:
                job.publish_due = from_now(OVERDUE_SECONDS)
                job.publish_count += 1
            return [JobMessage(job.id, job.spec) for job in jobs]

    def _publish(self, messages: Sequence[JobMessage]) -> None:
        try:
            self._publisher.publish(messages)
        except BrokerUnreachable:
            with self._database.writing() as session:
                missed = Job.id.in_([message.job_id for message in messages])
                unsent = {"publish_due": now(), "publish_count": Job.publish_count - 1}
                session.execute(_every_queued().where(missed).values(**unsent))
            raise


def _expired() -> Select[Job]:
    expired = Job.state == JobState.RUNNING, Job.lease_until < now()
    return select(Job).where(*expired).limit(_BATCH).with_for_update(skip_locked=True)


def _due(everything: bool, began: datetime) -> Select[Job]:
    due = select(Job).where(*_QUEUED, Job.publish_due <= began, ~exists(select(Pause.id)))
    if not everything:
        due = due.where(Job.publish_count == 0)
    return due.order_by(Job.priority, Job.id).limit(_BATCH).with_for_update(skip_locked=True)


def _every_queued() -> Update:
    return update(Job).where(Job.state == JobState.QUEUED)
