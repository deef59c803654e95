"""The changes of a job's state, each within the caller's transaction, by the database's clock.

queued -> running -> succeeded | failed | cancelled; running -> queued (given back, or lease lost);
queued -> cancelled; failed | cancelled -> queued (retry).
"""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import (
    BindParameter,
    Integer,
    Row,
    Text,
    bindparam,
    case,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.orm import Session

from models import usage
from models.clock import from_now, now
from models.state import JobState, Outcome
from models.tables import Attempt, Epoch, Job, LogLine

# Statements for several jobs are made once: making one takes longer than running it.

_jobs, _attempts, _epochs, _log_lines = (
    table.metadata.tables[table.__tablename__] for table in (Job, Attempt, Epoch, LogLine)
)
_JOB_IDS: BindParameter[Any] = bindparam("job_ids", expanding=True)
_LEASE_SECONDS: BindParameter[Any] = bindparam("lease_seconds")
_THESE = _jobs.c.id.in_(_JOB_IDS)
_NEWEST_ATTEMPT = select(_jobs.c.attempt).where(_jobs.c.id == _attempts.c.job_id).scalar_subquery()
_CHANGE = update(_jobs).where(_THESE)
_CHANGE_ATTEMPTS = update(_attempts).where(
    _attempts.c.job_id.in_(_JOB_IDS), _attempts.c.number == _NEWEST_ATTEMPT
)

_START = _CHANGE.values(
    state=JobState.RUNNING,
    reason=None,
    worker=bindparam("by"),
    packed=bindparam("has_company"),
    attempt=_jobs.c.attempt + 1,
    not_before=None,
    lease_until=from_now(_LEASE_SECONDS),
    started_at=func.coalesce(_jobs.c.started_at, now()),
).returning(_jobs)
_ADD_ATTEMPTS = insert(_attempts).from_select(
    ["job_id", "number", "worker", "pid", "started_at"],
    select(
        _jobs.c.id, _jobs.c.attempt, _jobs.c.worker, bindparam("process", type_=Integer), now()
    ).where(_THESE),
)
_BEGIN = _CHANGE_ATTEMPTS.values(
    provenance=bindparam("runs_on"), resumed_epoch=bindparam("after_epoch")
)
_RENEW = _CHANGE.values(lease_until=from_now(_LEASE_SECONDS))
_END_ATTEMPTS = _CHANGE_ATTEMPTS.values(outcome=Outcome.SUCCEEDED, ended_at=now())
_SUCCEED = _CHANGE.values(
    state=JobState.SUCCEEDED,
    reason=None,
    lease_until=None,
    cancel_requested=False,
    finished_at=now(),
    epochs_done=_jobs.c.spec["epochs"].as_integer(),
    batches_done=0,
    checkpoint=case((_jobs.c.keep_checkpoint, _jobs.c.checkpoint), else_=None),
)
_FORGET_EPOCHS = delete(_epochs).where(
    _epochs.c.job_id.in_(_JOB_IDS), _epochs.c.epoch > bindparam("after_epoch")
)
_SET_BACK = _CHANGE.where(_jobs.c.epochs_done != bindparam("after_epoch")).values(
    epochs_done=bindparam("after_epoch")
)
_LOG = insert(_log_lines).from_select(
    ["job_id", "attempt", "at", "text"],
    select(_jobs.c.id, _jobs.c.attempt, now(), bindparam("line", type_=Text))
    .where(_THESE)
    .order_by(_jobs.c.id),
)


def start(
    session: Session, job_ids: Sequence[int], worker: str, pid: int, lease_seconds: float
) -> Sequence[Row[Any]]:
    """Start attempts at queued jobs, which the transaction has locked, in one worker process.

    Each gets a number and a lease. Return the jobs in the order given.
    """
    others = len(job_ids) - 1
    wanted = {"by": worker, "has_company": others > 0, "lease_seconds": lease_seconds}
    jobs = session.execute(_START, {"job_ids": job_ids, **wanted}).all()
    session.execute(_ADD_ATTEMPTS, {"job_ids": job_ids, "process": pid})
    company = f" with {others} other{'' if others == 1 else 's'} of its shape" if others else ""
    log_all(session, job_ids, f"claimed by {worker}{company}")
    return sorted(jobs, key=lambda job: job_ids.index(job.id))


def begin(
    session: Session, job_ids: Collection[int], provenance: dict[str, Any], epochs_done: int
) -> None:
    """Record what the newest attempts of running jobs run on, and after which epoch they start."""
    forget_progress(session, job_ids, epochs_done)
    begun = {"runs_on": provenance, "after_epoch": epochs_done}
    session.execute(_BEGIN, {"job_ids": job_ids, **begun})


def renew(session: Session, job_ids: Collection[int], lease_seconds: float) -> None:
    """Renew the leases of running jobs, which the transaction has locked."""
    session.execute(_RENEW, {"job_ids": job_ids, "lease_seconds": lease_seconds})


def give_back(session: Session, job: Job, detail: str, back_off_seconds: float = 0.0) -> None:
    """Queue a running job again, unless it was to be cancelled; it counts as no crash."""
    _end_attempt(session, job, Outcome.RELEASED, detail)
    _requeue(session, job, "given back", detail)
    if back_off_seconds:
        job.not_before = from_now(back_off_seconds)


def close(
    session: Session, job: Job, state: JobState, reason: str | None, detail: str = ""
) -> None:
    """End a job for good: succeeded, failed or cancelled; `detail` may hold a traceback."""
    if job.state == JobState.RUNNING:
        _end_attempt(session, job, Outcome(state), detail or reason)
    usage.charge(session, [job.id])
    job.state, job.reason, job.lease_until = state, reason, None
    job.cancel_requested = False
    job.finished_at = now()
    log(session, job, f"{state}: {reason}" if reason else state)


def succeed(session: Session, job_ids: Collection[int]) -> None:
    """End running jobs, which the transaction has locked and whose results it recorded."""
    usage.charge(session, job_ids)
    session.execute(_END_ATTEMPTS, {"job_ids": job_ids})
    session.execute(_SUCCEED, {"job_ids": job_ids})
    log_all(session, job_ids, JobState.SUCCEEDED)


def lose(session: Session, job: Job, detail: str) -> None:
    """Take a running job from a worker that died or fell silent.

    It is queued again unless it was to be cancelled. It fails at its `max_crashes`-th loss in a
    row without a newer checkpoint: then the job itself must kill its workers. Of jobs that are
    lost together any may be the cause: none counts a crash, and each runs alone from then on.
    """
    _count_crash(job)
    _end_attempt(session, job, Outcome.LOST, detail)
    _requeue(session, job, "lost", detail)
    if job.state == JobState.QUEUED and job.crashes >= job.max_crashes:
        close(session, job, JobState.FAILED, f"crashed {job.crashes} times: {detail}")


def forget_progress(session: Session, job_ids: Collection[int], after_epoch: int = 0) -> None:
    """Delete the epochs that attempts will measure again."""
    session.execute(_FORGET_EPOCHS, {"job_ids": job_ids, "after_epoch": after_epoch})
    session.execute(_SET_BACK, {"job_ids": job_ids, "after_epoch": after_epoch})


def log(session: Session, job: Job, text: str) -> None:
    """Add a line to the job's log."""
    session.add(LogLine(job_id=job.id, attempt=job.attempt, at=now(), text=text))


def log_all(session: Session, job_ids: Collection[int], text: str) -> None:
    """Add the same line to the logs of several jobs."""
    session.execute(_LOG, {"job_ids": job_ids, "line": text})


def _requeue(session: Session, job: Job, how: str, detail: str) -> None:
    """Queue a job whose attempt ended; close it instead if it was to be cancelled."""
    was_cancelled = job.cancel_requested
    job.state, job.worker, job.lease_until = JobState.QUEUED, None, None
    job.batches_done = 0
    log(session, job, f"{how}: {detail}")
    if was_cancelled:
        close(session, job, JobState.CANCELLED, f"cancelled; {detail}")


def _count_crash(job: Job) -> None:
    if job.packed:
        job.suspect = True
        return
    made_progress = job.checkpoint_epoch > job.progress_mark
    job.crashes = 1 if made_progress else job.crashes + 1
    job.progress_mark = job.checkpoint_epoch


def _end_attempt(session: Session, job: Job, outcome: Outcome, detail: str | None) -> None:
    session.execute(
        update(Attempt)
        .where(Attempt.job_id == job.id, Attempt.number == job.attempt)
        .values(outcome=outcome, detail=detail, ended_at=now())
    )
