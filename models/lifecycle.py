"""The moves a job can make, each within the caller's transaction, by the database's clock.

queued -> running -> succeeded | failed | cancelled; running -> queued (given back, or lease lost);
queued -> cancelled; failed | cancelled -> queued (retry).
"""

from sqlalchemy import delete, update
from sqlalchemy.orm import Session

from models.clock import from_now, now
from models.state import JobState, Outcome
from models.tables import Attempt, Epoch, Job


def start(session: Session, job: Job, worker: str, pid: int, lease_seconds: float) -> None:
    """Give a queued job to a worker: a new attempt, with its number and its lease."""
    job.state, job.reason, job.worker = JobState.RUNNING, None, worker
    job.attempt += 1
    job.lease_until = from_now(lease_seconds)
    job.started_at = job.started_at or now()
    session.add(
        Attempt(job_id=job.id, number=job.attempt, worker=worker, pid=pid, started_at=now())
    )


def enqueue(job: Job) -> None:
    """Make the job wait for a worker; whoever rings next rings for it at once."""
    job.state, job.worker, job.lease_until = JobState.QUEUED, None, None
    job.publish_due, job.publishes = now(), 0


def give_back(session: Session, job: Job, detail: str) -> None:
    """Queue a running job again; nothing is held against it."""
    end_attempt(session, job, Outcome.RELEASED, detail)
    enqueue(job)


def close(
    session: Session, job: Job, state: JobState, reason: str | None, detail: str = ""
) -> None:
    """End a job for good: succeeded, failed or cancelled."""
    if job.state == JobState.RUNNING:
        end_attempt(session, job, Outcome(state), detail or reason)
    finish(job, state, reason)


def lose(session: Session, job: Job, detail: str) -> None:
    """Take a running job from a worker that died or fell silent.

    It is queued again, unless it was to be cancelled, or this was the `max_crashes`-th loss in a
    row without a newer checkpoint: then the job is what kills its workers.
    """
    made_progress = job.checkpoint_epoch > job.progress_mark
    job.crashes = 1 if made_progress else job.crashes + 1
    job.progress_mark = job.checkpoint_epoch
    end_attempt(session, job, Outcome.LOST, detail)
    if job.cancel_requested:
        finish(job, JobState.CANCELLED, f"cancelled; {detail}")
    elif job.crashes >= job.max_crashes:
        finish(job, JobState.FAILED, f"crashed {job.crashes} times: {detail}")
    else:
        enqueue(job)


def finish(job: Job, state: JobState, reason: str | None) -> None:
    """Move a job, whose attempt if any has ended, to a final state."""
    job.state, job.reason, job.lease_until = state, reason, None
    job.cancel_requested = False
    job.finished_at = now()


def end_attempt(session: Session, job: Job, outcome: Outcome, detail: str | None) -> None:
    """Record how the current attempt ended."""
    session.execute(
        update(Attempt)
        .where(Attempt.job_id == job.id, Attempt.number == job.attempt)
        .values(outcome=outcome, detail=detail, ended_at=now())
    )


def forget_progress(session: Session, job: Job, after_epoch: int = 0) -> None:
    """Delete the epochs an attempt is about to measure again."""
    session.execute(delete(Epoch).where(Epoch.job_id == job.id, Epoch.epoch > after_epoch))
    job.epochs_done = after_epoch
