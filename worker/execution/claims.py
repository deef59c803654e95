"""Claims of jobs: which job a worker starts next, and which are trained with it."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BindParameter, Integer, Row, bindparam, exists, func, or_, select
from sqlalchemy.orm import Session

from models import lifecycle
from models.clock import from_now, now
from models.spec import ExperimentSpec
from models.state import JobState, WorkerState
from models.tables import Job, Pause, Worker
from worker.execution.fair_share import list_owners

# The statements of every claim are made once: making one takes longer than running it.

#: What holds of a job that a worker may start.
CLAIMABLE = (
    Job.state == JobState.QUEUED,
    Job.held.is_(False),
    or_(Job.not_before.is_(None), Job.not_before <= now()),
)
IS_PAUSED = exists(select(Pause.id))
_IS_DRAINING = exists().where(
    Worker.id == bindparam("worker"), Worker.state == WorkerState.DRAINING
)
#: Whether a worker may claim any job at all.
_MAY_CLAIM = select(~IS_PAUSED & ~_IS_DRAINING)
#: Locks an owner's job that is next, but for those that other claims hold.
_TAKE_NEXT = (
    select(Job)
    .where(*CLAIMABLE, Job.owner == bindparam("owner"))
    .order_by(Job.priority, Job.id)
    .limit(1)
    .with_for_update(skip_locked=True)
)
_ALIKE = (
    *CLAIMABLE,
    Job.owner == bindparam("owner"),
    Job.shape == bindparam("shape"),
    Job.priority == bindparam("priority"),
    Job.suspect.is_(False),
)
_COUNT: BindParameter[int] = bindparam("count", type_=Integer)
_COUNT_ALIKE = select(func.count()).select_from(
    select(Job.id).where(*_ALIKE).limit(_COUNT).subquery()
)
_TAKE_PEERS = (
    select(Job.id)
    .where(*_ALIKE, Job.id != bindparam("job_id"))
    .order_by(Job.id)
    .limit(_COUNT)
    .with_for_update(skip_locked=True)
)
_COUNT_WORKERS = (
    select(func.count())
    .select_from(Worker)
    .where(Worker.state == WorkerState.ACTIVE, Worker.heartbeat_at > from_now(bindparam("since")))
)


@dataclass(frozen=True)
class Claim:
    """The right to run one job, until the lease is lost. `attempt` is the fencing token."""

    job_id: int
    attempt: int
    spec: ExperimentSpec
    #: The file to resume from, under the checkpoint folder.
    checkpoint: str | None
    stall_seconds: float
    timeout_seconds: float | None
    keep_checkpoint: bool

    def __str__(self) -> str:
        return f"job {self.job_id} attempt {self.attempt}"

    @property
    def ids(self) -> dict[str, int]:
        """The fields of a log record about this attempt."""
        return {"job_id": self.job_id, "attempt": self.attempt}


def claim_next(
    session: Session, most: Callable[[ExperimentSpec], int], *, worker: str, lease_seconds: float
) -> Sequence[Claim]:
    """Claim the job that is next in the queue, as `claim_with_peers` does.

    Owners take turns as fair_share.list_owners says; of an owner's jobs the highest priority goes
    first, then the oldest. Return none if nothing is queued that may be started, the queue is
    paused, or the worker is draining.
    """
    if not session.scalar(_MAY_CLAIM, {"worker": worker}):
        return ()
    for owner in list_owners(session, CLAIMABLE):
        if job := session.scalar(_TAKE_NEXT, {"owner": owner}):
            return claim_with_peers(session, job, most, worker=worker, lease_seconds=lease_seconds)
    return ()


def claim_with_peers(
    session: Session,
    job: Job,
    most: Callable[[ExperimentSpec], int],
    *,
    worker: str,
    lease_seconds: float,
) -> Sequence[Claim]:
    """Claim a locked job and others like it, `most` in all.

    The others are queued jobs of its owner, shape and priority, no more than one worker's share of
    those that are queued.
    """
    limit = most(ExperimentSpec.model_validate(job.spec))
    job_ids = [job.id, *_find_peers(session, job, limit, lease_seconds)]
    jobs = lifecycle.start(session, job_ids, worker, os.getpid(), lease_seconds)
    return tuple(map(_claim_of, jobs))


def _find_peers(session: Session, job: Job, most: int, silent_seconds: float) -> Sequence[int]:
    """Return, locked, the ids of the queued jobs to be trained together with one that is.

    Jobs that were lost together run alone. No claim waits for another's rows.
    """
    if job.suspect or most == 1:
        return ()
    like = {"owner": job.owner, "shape": job.shape, "priority": job.priority}
    share = _find_share(session, like, most, silent_seconds)
    return session.scalars(_TAKE_PEERS, {**like, "job_id": job.id, "count": share - 1}).all()


def _find_share(session: Session, like: Mapping[str, Any], most: int, silent_seconds: float) -> int:
    """Return how many of the queued jobs are one worker's share: no worker hogs a short queue."""
    workers = session.scalar(_COUNT_WORKERS, {"since": -silent_seconds}) or 1
    if workers == 1:
        return most
    waiting = session.scalar(_COUNT_ALIKE, {**like, "count": most * workers}) or 1
    return min(most, -(-waiting // workers))


def _claim_of(job: Row[Any]) -> Claim:
    return Claim(
        job_id=job.id,
        attempt=job.attempt,
        spec=ExperimentSpec.model_validate(job.spec),
        checkpoint=job.checkpoint,
        stall_seconds=job.stall_seconds,
        timeout_seconds=job.timeout_seconds,
        keep_checkpoint=job.keep_checkpoint,
    )
