"""The metrics that a monitoring system watches."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import case, func, select

from models.clock import now
from models.database import Database
from models.state import JobState, Outcome
from models.tables import Attempt, Job, Repair, Result
from service.queries.job_rows import count_states_in
from service.queries.owners import OwnerRow, list_owners_in
from service.queries.rows import WorkerRow
from service.queries.workers import list_workers


@dataclass(frozen=True)
class OperationalMetrics:
    """What an operator of dq watches; counts are of all time."""

    states: Mapping[JobState, int]
    #: Those of queued and running jobs.
    owners: tuple[OwnerRow, ...]
    #: Seconds since the job that is queued longest was submitted; None if none is queued.
    oldest_queued_seconds: float | None
    attempts: Mapping[Outcome, int]
    #: How many jobs the reconcilers repaired, by what they did.
    repairs: Mapping[str, int]
    succeeded: int
    succeeded_seconds: float
    #: How many jobs took at most each number of seconds in SECONDS_BUCKETS.
    succeeded_within: Mapping[float, int]
    workers: tuple[WorkerRow, ...]


#: From a small network on a CPU to a day.
SECONDS_BUCKETS = (1, 5, 15, 60, 300, 900, 3600, 14400, 86400)


def read_operational_metrics(database: Database) -> OperationalMetrics:
    """Return the metrics, which a few queries count."""
    workers = tuple(list_workers(database))
    with database.reading() as session:
        oldest = select(func.min(Job.created_at), now()).where(Job.state == JobState.QUEUED)
        created_at, time = session.execute(oldest).one()
        outcomes = select(Attempt.outcome, func.count()).group_by(Attempt.outcome)
        repairs = select(Repair.action, func.sum(Repair.jobs)).group_by(Repair.action)
        within = [
            func.sum(case((Result.seconds <= limit, 1), else_=0)) for limit in SECONDS_BUCKETS
        ]
        results = select(func.count(), func.sum(Result.seconds), *within)
        succeeded, seconds, *counts = session.execute(results).one()
        ended = dict(session.execute(outcomes).all())
        return OperationalMetrics(
            states=count_states_in(session),
            owners=tuple(list_owners_in(session)),
            oldest_queued_seconds=(time - created_at).total_seconds() if created_at else None,
            attempts={outcome: ended.get(outcome, 0) for outcome in Outcome},
            repairs=dict(session.execute(repairs).all()),
            succeeded=succeeded,
            succeeded_seconds=seconds or 0.0,
            succeeded_within={
                limit: found or 0 for limit, found in zip(SECONDS_BUCKETS, counts, strict=True)
            },
            workers=workers,
        )
