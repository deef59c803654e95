"""Claims of jobs: which jobs a message has its worker start, and which are trained with it."""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BindParameter, Integer, Row, bindparam, exists, func, select
from sqlalchemy.orm import Session

from models import lifecycle
from models.clock import from_now
from models.spec import ExperimentSpec
from models.state import JobState, WorkerState
from models.tables import Job, Pause, Worker

logger = logging.getLogger(__name__)

# The statements of every claim are made once: making one takes longer than running it.

#: Locks the job that a message names.
_TAKE = (
    select(Job, exists(select(Pause.id)))
    .where(Job.id == bindparam("job_id"))
    .with_for_update(of=Job)
)
_ALIKE = (
    Job.shape == bindparam("shape"),
    Job.priority == bindparam("priority"),
    Job.state == JobState.QUEUED,
    Job.held.is_(False),
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


def claim_pack(
    session: Session,
    job_id: int,
    spec: dict[str, Any],
    most: Callable[[ExperimentSpec], int],
    *,
    worker: str,
    lease_seconds: float,
) -> Sequence[Claim]:
    """Claim a queued job and other queued jobs of its shape and priority, `most` in all.

    They are no more than one worker's share of what is queued of that shape. Return none, and log
    why, if a message with this spec may not start its job.
    """
    found = session.execute(_TAKE, {"job_id": job_id}).one_or_none()
    job, is_paused = found or (None, False)
    if job is None or (refusal := _refuse(job, spec, is_paused=is_paused)):
        _log_refusal(job_id, job, (job and refusal) or "there is no such job")
        return ()
    limit = most(ExperimentSpec.model_validate(job.spec))
    job_ids = [job_id, *_find_peers(session, job, limit, lease_seconds)]
    jobs = lifecycle.start(session, job_ids, worker, os.getpid(), lease_seconds)
    return tuple(map(_claim_of, jobs))


def _find_peers(session: Session, job: Job, most: int, silent_seconds: float) -> Sequence[int]:
    """Return, locked, the ids of the queued jobs to be trained together with one that is.

    Jobs that were lost together run alone. No claim waits for another's rows.
    """
    if job.suspect or most == 1:
        return ()
    like = {"shape": job.shape, "priority": job.priority}
    share = _find_share(session, like, most, silent_seconds)
    return session.scalars(_TAKE_PEERS, {**like, "job_id": job.id, "count": share - 1}).all()


def _find_share(session: Session, like: Mapping[str, Any], most: int, silent_seconds: float) -> int:
    """Return how many of the queued jobs are one worker's share: no worker hogs a short queue."""
    workers = session.scalar(_COUNT_WORKERS, {"since": -silent_seconds}) or 1
    if workers == 1:
        return most
    waiting = session.scalar(_COUNT_ALIKE, {**like, "count": most * workers}) or 1
    return min(most, -(-waiting // workers))


_OTHER_SPEC = "the message's spec is not the row's"
_WHY_NOT = {
    JobState.RUNNING: "it is running",
    JobState.SUCCEEDED: "it succeeded",
    JobState.FAILED: "it failed",
    JobState.CANCELLED: "it was cancelled",
}


def _refuse(job: Job, spec: dict[str, Any], *, is_paused: bool) -> str | None:
    """Return why a message may not start this job; None if it may."""
    if job.state != JobState.QUEUED:
        return _WHY_NOT[JobState(job.state)]
    if job.held:
        return "it is held"
    if job.spec != spec:
        return _OTHER_SPEC
    if is_paused:
        return "the queue is paused"
    return None


def _log_refusal(job_id: int, job: Job | None, why: str) -> None:
    level = logging.WARNING if why == _OTHER_SPEC else logging.INFO
    if job and job.packed:  # its message was due to come after the job was claimed with another
        level = logging.DEBUG
    logger.log(level, "dropped a message for job %s: %s", job_id, why, extra={"job_id": job_id})


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
