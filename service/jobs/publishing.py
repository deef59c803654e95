"""Sends the messages of jobs, and records on their rows that they were sent."""

from collections.abc import Sequence

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from models.clock import from_now
from models.database import Database
from models.errors import BrokerUnreachable
from models.message import OVERDUE_SECONDS, JobMessage
from models.state import JobState
from models.tables import Job
from service.jobs.batches import BULK
from service.jobs.broker import Broker
from service.queries.selectors import ids_condition


def list_messages(session: Session, job_ids: Sequence[int]) -> list[JobMessage]:
    """Return the messages of those of the jobs that a worker may start."""
    waiting = ids_condition(job_ids), Job.state == JobState.QUEUED, Job.held.is_(False)
    query = select(Job.id, Job.spec).where(*waiting).order_by(Job.id)
    return [JobMessage(*row) for row in session.execute(query)]


def publish(database: Database, broker: Broker, messages: Sequence[JobMessage]) -> str | None:
    """Send messages, and record that they were sent; return why not, or None.

    If Redis does not answer, a worker sends them later.
    """
    if not messages:
        return None
    try:
        broker.publish(messages)
    except BrokerUnreachable as error:
        return str(error)
    # The first jobs may run by now, or have ended: their workers own their rows.
    waiting = ids_condition([message.job_id for message in messages]), Job.state == JobState.QUEUED
    sent = (
        update(Job).where(*waiting).values(publish_count=1, publish_due=from_now(OVERDUE_SECONDS))
    )
    with database.writing() as session:
        session.execute(sent, execution_options=BULK)
    return None
