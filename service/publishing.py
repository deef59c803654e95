"""Sends the messages of jobs, and notes on their rows that they were sent."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from models.clock import from_now
from models.database import Database
from models.errors import BrokerUnreachable
from models.message import OVERDUE_SECONDS, Bell
from models.state import JobState
from models.tables import Job
from service.selector import ids_condition

if TYPE_CHECKING:  # it brings Celery, which most commands do not need
    from service.broker import Broker


def list_bells(session: Session, job_ids: Sequence[int]) -> list[Bell]:
    """Return the messages of those of the jobs that a worker may start."""
    waiting = ids_condition(job_ids), Job.state == JobState.QUEUED, Job.held.is_(False)
    query = select(Job.id, Job.spec, Job.priority).where(*waiting).order_by(Job.id)
    return [Bell(*row) for row in session.execute(query)]


def publish(database: Database, broker: "Broker", bells: Sequence[Bell]) -> str | None:
    """Send messages, and note that they were sent; return why not, or None.

    A worker sends them later if Redis does not answer.
    """
    if not bells:
        return None
    try:
        broker.ring(bells)
    except BrokerUnreachable as error:
        return str(error)
    # The first ones may run by now, or be done: their rows are their workers'.
    waiting = ids_condition([bell.job_id for bell in bells]), Job.state == JobState.QUEUED
    sent = update(Job).where(*waiting).values(publishes=1, publish_due=from_now(OVERDUE_SECONDS))
    with database.writing() as session:
        session.execute(sent, execution_options={"synchronize_session": False})
    return None
