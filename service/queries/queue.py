"""The queue as it is now: the running jobs and the time left, the next jobs, and the workers."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from sqlalchemy import select

from models.database import Database
from models.spec import ExperimentSpec
from models.state import JobState
from models.tables import Job
from service.queries.estimate import Estimate, estimate
from service.queries.job_rows import count_states_in, fetch_job_rows, select_jobs
from service.queries.progress import measure_left
from service.queries.rows import JobRow, WorkerRow
from service.queries.workers import is_paused, list_workers

#: From how many of the next jobs the time of all is estimated.
_SAMPLE = 200


@dataclass(frozen=True)
class RunningJob:
    """A running job; `seconds_left` goes by its last epoch, and is None before the first."""

    job: JobRow
    seconds_left: float | None


@dataclass(frozen=True)
class Queue:
    """The queue at a glance; `left` is the time for the queued jobs."""

    states: Mapping[JobState, int]
    is_paused: bool
    running: tuple[RunningJob, ...]
    #: The next jobs, in the order in which workers take them; held ones last.
    queued: tuple[JobRow, ...]
    left: Estimate | None
    workers: tuple[WorkerRow, ...]


def read_queue(database: Database, limit: int = 20) -> Queue:
    """Return the queue, with at most `limit` of its queued and of its running jobs."""
    oldest = select_jobs(Job.state == JobState.RUNNING).order_by(Job.id)
    next_up = select_jobs(Job.state == JobState.QUEUED).order_by(Job.held, Job.priority, Job.id)
    with database.reading() as session:
        states = count_states_in(session)
        running = fetch_job_rows(session, oldest.limit(limit))
        queued = fetch_job_rows(session, next_up.limit(limit))
    left = measure_left(running)
    return Queue(
        states=states,
        is_paused=is_paused(database),
        running=tuple(RunningJob(job, left[job.job_id]) for job in running),
        queued=tuple(queued),
        left=_estimate(database, states[JobState.QUEUED]),
        workers=tuple(list_workers(database)),
    )


def _estimate(database: Database, queued: int) -> Estimate | None:
    """Estimate the time of all queued jobs from the next ones."""
    next_up = select(Job.spec).where(Job.state == JobState.QUEUED).order_by(Job.priority, Job.id)
    with database.reading() as session:
        found = session.scalars(next_up.limit(_SAMPLE)).all()
    if not found:
        return None
    sample = estimate(database, [ExperimentSpec.model_validate(spec) for spec in found])
    return replace(sample, seconds=sample.seconds * max(1.0, queued / len(found)))
