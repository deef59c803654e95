"""The moves a job can make, each within the caller's transaction, by the database's clock.

queued -> running -> succeeded | failed | cancelled; running -> queued (given back, or lease lost);
queued -> cancelled; failed | cancelled -> queued (retry).
"""

from sqlalchemy import delete, update
from sqlalchemy.orm import Session

from models.clock import from_now, now
from models.state import JobState, Outcome
from models.tables import Attempt, Epoch, Job, LogLine


def start(
    session: Session, job: Job, worker: str, pid: int, lease_seconds: float, *, others: int = 0
) -> None:
    """Give a queued job to a worker: a new attempt, with its number and its lease.

    `others` is how many jobs the same process takes together with it.
    """
    job.packed = others > 0
    job.state, job.reason, job.worker = JobState.RUNNING, None, worker
    job.attempt += 1
    job.lease_until = from_now(lease_seconds)
    job.started_at = job.started_at or now()
    session.add(
        Attempt(job_id=job.id, number=job.attempt, worker=worker, pid=pid, started_at=now())
    )
    company = f" with {others} other{'' if others == 1 else 's'} of its shape" if others else ""
    log(session, job, f"claimed by {worker}{company}")


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


def forget_progress(session: Session, job: Job, after_epoch: int = 0) -> None:
    """Delete the epochs an attempt is about to measure again."""
    session.execute(delete(Epoch).where(Epoch.job_id == job.id, Epoch.epoch > after_epoch))
    job.epochs_done = after_epoch


def log(session: Session, job: Job, text: str) -> None:
    """Write one line into the job's log."""
    session.add(LogLine(job_id=job.id, attempt=job.attempt, at=now(), text=text))


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
