"""Changes jobs and the queue: cancel, retry, hold, release, prioritize, pause, resume, drain."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, delete, select, update
from sqlalchemy.orm import Session

from models import lifecycle
from models.clock import now
from models.database import Database
from models.errors import UsageError
from models.message import Priority
from models.state import FINAL_STATES, JobState, WorkerState
from models.tables import Job, Pause, Worker
from service.jobs.batches import BULK, Jobs, OnProgress, change_in_batches, ignore_progress
from service.jobs.broker import Broker
from service.jobs.publishing import list_messages, publish
from service.queries.selectors import ids_condition

#: The change of a job that waits for a worker again.
_QUEUED = "queued"
_RETRIABLE = FINAL_STATES - {JobState.SUCCEEDED}


@dataclass(frozen=True)
class Change:
    """The change of one selected job: "cancelled", "already succeeded", ..."""

    job_id: int
    change: str


def cancel(
    database: Database, which: ColumnElement[bool], on_progress: OnProgress = ignore_progress
) -> list[Change]:
    """Cancel queued jobs at once, and ask for running ones to be stopped."""
    return _flatten(change_in_batches(database, which, _cancel, on_progress))


def retry(
    database: Database,
    broker: Broker,
    which: ColumnElement[bool],
    *,
    from_scratch: bool,
    on_progress: OnProgress = ignore_progress,
) -> list[Change]:
    """Queue failed and cancelled jobs again, to resume from their checkpoints or from scratch."""

    def change(session: Session, jobs: Jobs) -> list[Change]:
        return _retry(session, jobs, from_scratch)

    return _change_and_publish(database, broker, which, change, on_progress)


def hold(
    database: Database, which: ColumnElement[bool], on_progress: OnProgress = ignore_progress
) -> list[Change]:
    """Keep queued jobs from being started."""
    return _flatten(change_in_batches(database, which, _hold, on_progress))


def release(
    database: Database,
    broker: Broker,
    which: ColumnElement[bool],
    on_progress: OnProgress = ignore_progress,
) -> list[Change]:
    """Let held jobs be started."""
    return _change_and_publish(database, broker, which, _release, on_progress)


def prioritize(
    database: Database,
    which: ColumnElement[bool],
    priority: Priority,
    on_progress: OnProgress = ignore_progress,
) -> list[Change]:
    """Change the priority of queued jobs; it takes effect at the next claim."""

    def change(session: Session, jobs: Jobs) -> list[Change]:
        queued, name = _ids(jobs, JobState.QUEUED), priority.name.lower()
        _update(session, queued, f"priority {name}", priority=priority)
        return _describe(jobs, dict.fromkeys(queued, f"{name} priority"))

    return _flatten(change_in_batches(database, which, change, on_progress))


def pause(database: Database) -> None:
    """Keep every worker from taking jobs until `resume`; running jobs go on."""
    with database.writing() as session:
        session.merge(Pause(id=1, since=now()))


def resume(
    database: Database, broker: Broker, on_progress: OnProgress = ignore_progress
) -> str | None:
    """Let workers take jobs again; return why no message was sent, or None."""
    with database.writing() as session:
        session.execute(delete(Pause))
    waiting = (Job.state == JobState.QUEUED) & Job.held.is_(False)
    unsent = None
    for job_ids in change_in_batches(database, waiting, lambda _, jobs: _ids(jobs), on_progress):
        unsent = unsent or _publish(database, broker, job_ids)
    return unsent


def drain(database: Database, worker: str | None) -> list[str]:
    """Have a worker, or all, exit after the current job; return their names."""
    with database.writing() as session:
        named = Worker.id == worker if worker else Worker.id.is_not(None)
        workers = session.scalars(select(Worker).where(named).order_by(Worker.id)).all()
        if worker and not workers:
            raise UsageError(f"There is no worker {worker!r}. Type: dq workers")
        for each in workers:
            each.state = WorkerState.DRAINING
        return [each.id for each in workers]


def _flatten(batches: Iterable[list[Change]]) -> list[Change]:
    return [change for batch in batches for change in batch]


def _change_and_publish(
    database: Database,
    broker: Broker,
    which: ColumnElement[bool],
    change: Callable[[Session, Jobs], list[Change]],
    on_progress: OnProgress,
) -> list[Change]:
    changes, unsent = list[Change](), None
    for batch in change_in_batches(database, which, change, on_progress):
        changes += batch
        queued = [each.job_id for each in batch if each.change == _QUEUED]
        unsent = unsent or _publish(database, broker, queued)  # else a worker sends them later
    return changes


def _publish(database: Database, broker: Broker, job_ids: Sequence[int]) -> str | None:
    with database.reading() as session:
        messages = list_messages(session, job_ids)
    return publish(broker, messages)


def _cancel(session: Session, jobs: Jobs) -> list[Change]:
    queued = _ids(jobs, JobState.QUEUED)
    reason = "cancelled before it ran"
    ended = {"state": JobState.CANCELLED, "reason": reason, "finished_at": now()}
    _update(session, queued, f"cancelled: {reason}", cancel_requested=False, **ended)
    return _describe(
        jobs, dict.fromkeys(queued, "cancelled") | _stop(session, _ids(jobs, JobState.RUNNING))
    )


def _stop(session: Session, running: Sequence[int]) -> dict[int, str]:
    """Ask for running jobs to be stopped; cancel those at once whose lease has expired."""
    _update(session, running, None, cancel_requested=True)
    abandoned = select(Job).where(ids_condition(running), Job.lease_until < now())
    changes = dict.fromkeys(running, "stopping")
    for job in session.scalars(abandoned.order_by(Job.id)) if running else ():
        lifecycle.lose(session, job, f"{job.worker} fell silent")
        changes[job.id] = "cancelled"
    return changes


def _retry(session: Session, jobs: Jobs, from_scratch: bool) -> list[Change]:
    ended = _ids(jobs, *_RETRIABLE)
    values: dict[str, Any] = {
        "state": JobState.QUEUED,
        "reason": None,
        "finished_at": None,
        "worker": None,
        "lease_until": None,
        "crashes": 0,
        "held": False,
        "suspect": False,
        "not_before": None,
        "batches_done": 0,
    }
    if from_scratch:
        values |= {"checkpoint": None, "checkpoint_epoch": 0, "progress_mark": 0}
        lifecycle.forget_progress(session, ended)
    _update(session, ended, f"queued again{' from scratch' * from_scratch}", **values)
    return _describe(jobs, dict.fromkeys(ended, _QUEUED))


def _hold(session: Session, jobs: Jobs) -> list[Change]:
    queued = _ids(jobs, JobState.QUEUED)
    _update(session, queued, "held", held=True)
    return _describe(jobs, dict.fromkeys(queued, "held"))


def _release(session: Session, jobs: Jobs) -> list[Change]:
    held = [job.id for job in jobs if job.held]
    _update(session, held, "released", held=False)
    return [Change(job.id, _QUEUED if job.held else "was not held") for job in jobs]


def _describe(jobs: Jobs, changes: Mapping[int, str]) -> list[Change]:
    return [Change(job.id, changes.get(job.id, f"already {job.state}")) for job in jobs]


def _ids(jobs: Jobs, *states: JobState) -> list[int]:
    """Return the ids of the jobs in the states, of all jobs if none is given."""
    return [job.id for job in jobs if not states or job.state in states]


def _update(session: Session, job_ids: Sequence[int], line: str | None, **values: Any) -> None:
    """Change jobs, whose rows are locked, and write a line into the log of each."""
    if not job_ids:
        return
    session.execute(
        update(Job).where(ids_condition(job_ids)).values(**values), execution_options=BULK
    )
    if line:
        lifecycle.log_all(session, job_ids, line)
