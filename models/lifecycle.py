"""The moves a job can make, each within the caller's transaction, by the database's clock.

queued -> running -> succeeded | failed | cancelled; running -> queued (given back, or lease lost);
queued -> cancelled; failed | cancelled -> queued (retry).
"""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Update, case, delete, func, insert, literal, select, update
from sqlalchemy.orm import Session

from models.clock import from_now, now
from models.state import JobState, Outcome
from models.tables import Attempt, Epoch, Job, LogLine

#: Of rows that a statement changes, no copy in the session need be told.
_UNSEEN = {"synchronize_session": False}
#: Rows that a statement returns replace what the session had of them.
_FRESH = {"synchronize_session": False, "populate_existing": True}


def start(
    session: Session, job_ids: Sequence[int], worker: str, pid: int, lease_seconds: float
) -> Sequence[Job]:
    """Give queued jobs, whose rows the transaction holds, to one process of a worker.

    Each gets a new attempt, with its number and its lease. Return the jobs in the order given.
    """
    others = len(job_ids) - 1
    started = (
        update(Job)
        .where(Job.id.in_(job_ids))
        .values(
            state=JobState.RUNNING,
            reason=None,
            worker=worker,
            packed=others > 0,
            attempt=Job.attempt + 1,
            lease_until=from_now(lease_seconds),
            started_at=func.coalesce(Job.started_at, now()),
        )
    )
    jobs = session.scalars(started.returning(Job), execution_options=_FRESH).all()
    begun = select(Job.id, Job.attempt, Job.worker, literal(pid), now()).where(Job.id.in_(job_ids))
    names = ["job_id", "number", "worker", "pid", "started_at"]
    session.execute(insert(Attempt).from_select(names, begun))
    company = f" with {others} other{'' if others == 1 else 's'} of its shape" if others else ""
    log_all(session, job_ids, f"claimed by {worker}{company}")
    return sorted(jobs, key=lambda job: job_ids.index(job.id))


def begin(
    session: Session, job_ids: Collection[int], provenance: dict[str, Any], epochs_done: int
) -> None:
    """Record what the newest attempts of running jobs run on, and after how many epochs."""
    forget_progress(session, job_ids, epochs_done)
    begun = _newest_attempts(job_ids).values(provenance=provenance, resumed_epoch=epochs_done)
    session.execute(begun, execution_options=_UNSEEN)


def renew(session: Session, job_ids: Collection[int], lease_seconds: float) -> None:
    """Have the leases of running jobs, whose rows the transaction holds, end that much later."""
    renewed = update(Job).where(Job.id.in_(job_ids)).values(lease_until=from_now(lease_seconds))
    session.execute(renewed, execution_options=_UNSEEN)


def enqueue(job: Job) -> None:
    """Make the job wait for a worker; whoever rings next rings for it at once."""
    job.state, job.worker, job.lease_until = JobState.QUEUED, None, None
    job.publish_due, job.publishes = now(), 0


def give_back(session: Session, job: Job, detail: str) -> None:
    """Queue a running job again, unless it was to be cancelled; nothing is held against it."""
    _end_attempt(session, job, Outcome.RELEASED, detail)
    was_cancelled = job.cancel_requested
    enqueue(job)
    log(session, job, f"given back: {detail}")
    if was_cancelled:
        close(session, job, JobState.CANCELLED, f"cancelled; {detail}")


def close(
    session: Session, job: Job, state: JobState, reason: str | None, detail: str = ""
) -> None:
    """End a job for good: succeeded, failed or cancelled; `detail` may hold a traceback."""
    if job.state == JobState.RUNNING:
        _end_attempt(session, job, Outcome(state), detail or reason)
    job.state, job.reason, job.lease_until = state, reason, None
    job.cancel_requested = False
    job.finished_at = now()
    log(session, job, f"{state}: {reason}" if reason else state)


def succeed(session: Session, job_ids: Collection[int]) -> None:
    """End running jobs, whose rows the transaction holds and whose results are there."""
    ended = _newest_attempts(job_ids).values(outcome=Outcome.SUCCEEDED, ended_at=now())
    session.execute(ended, execution_options=_UNSEEN)
    succeeded = update(Job).values(
        state=JobState.SUCCEEDED,
        reason=None,
        lease_until=None,
        cancel_requested=False,
        finished_at=now(),
        epochs_done=Job.spec["epochs"].as_integer(),
        checkpoint=case((Job.keep_checkpoint, Job.checkpoint), else_=None),
    )
    session.execute(succeeded.where(Job.id.in_(job_ids)), execution_options=_UNSEEN)
    log_all(session, job_ids, JobState.SUCCEEDED)


def lose(session: Session, job: Job, detail: str) -> None:
    """Take a running job from a worker that died or fell silent.

    It is queued again, unless it was to be cancelled, or this was the `max_crashes`-th loss in a
    row without a newer checkpoint: then the job is what kills its workers. Of jobs that are lost
    together nobody knows which it was: none is blamed, and each runs alone from then on.
    """
    _blame(job)
    _end_attempt(session, job, Outcome.LOST, detail)
    was_cancelled = job.cancel_requested
    enqueue(job)
    log(session, job, f"lost: {detail}")
    if was_cancelled:
        close(session, job, JobState.CANCELLED, f"cancelled; {detail}")
    elif job.crashes >= job.max_crashes:
        close(session, job, JobState.FAILED, f"crashed {job.crashes} times: {detail}")


def suspect(session: Session, job: Job, detail: str) -> None:
    """Queue a running job again that failed together with others: it runs alone from then on."""
    job.suspect = True
    give_back(session, job, detail)


def forget_progress(session: Session, job_ids: Collection[int], after_epoch: int = 0) -> None:
    """Delete the epochs that attempts are about to measure again."""
    measured = delete(Epoch).where(Epoch.job_id.in_(job_ids), Epoch.epoch > after_epoch)
    session.execute(measured, execution_options=_UNSEEN)
    ahead = Job.id.in_(job_ids), Job.epochs_done != after_epoch
    back = update(Job).where(*ahead).values(epochs_done=after_epoch)
    session.execute(back, execution_options=_UNSEEN)


def log(session: Session, job: Job, text: str) -> None:
    """Write one line into the job's log."""
    session.add(LogLine(job_id=job.id, attempt=job.attempt, at=now(), text=text))


def log_all(session: Session, job_ids: Collection[int], text: str) -> None:
    """Write the same line into the logs of several jobs."""
    lines = select(Job.id, Job.attempt, now(), literal(text)).where(Job.id.in_(job_ids))
    session.execute(
        insert(LogLine).from_select(["job_id", "attempt", "at", "text"], lines.order_by(Job.id))
    )


def _newest_attempts(job_ids: Collection[int]) -> Update:
    newest = select(Job.attempt).where(Job.id == Attempt.job_id).scalar_subquery()
    return update(Attempt).where(Attempt.job_id.in_(job_ids), Attempt.number == newest)


def _blame(job: Job) -> None:
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
