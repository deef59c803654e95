"""Sends the messages of jobs."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from models.errors import BrokerUnreachable
from models.message import JobMessage
from models.state import JobState
from models.tables import Job
from service.jobs.broker import Broker
from service.queries.selectors import ids_condition


def list_messages(session: Session, job_ids: Sequence[int]) -> list[JobMessage]:
    """Return the messages of those of the jobs that a worker may start."""
    waiting = ids_condition(job_ids), Job.state == JobState.QUEUED, Job.held.is_(False)
    query = select(Job.id, Job.spec).where(*waiting).order_by(Job.id)
    return [JobMessage(*row) for row in session.execute(query)]


def publish(broker: Broker, messages: Sequence[JobMessage]) -> str | None:
    """Send messages; return why not, or None. A worker sends them later."""
    if not messages:
        return None
    try:
        broker.publish(messages)
    except BrokerUnreachable as error:
        return str(error)
    return None
