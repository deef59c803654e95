"""What a job waits for, or why it ended, in sentences."""

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from models.database import Database
from models.state import JobState
from models.tables import Job, Pause
from service.formatting import plural
from service.queries.owners import OwnerRow, list_owners_in
from service.queries.rows import JobRow
from service.queries.workers import list_workers


def explain_wait(database: Database, job_id: int) -> list[str]:
    """Say what a queued job waits for; nothing for a job that is not queued."""
    with database.reading() as session:
        job = session.get(Job, job_id)
        if job is None or job.state != JobState.QUEUED:
            return []
        reasons = [*_list_obstacles(session, job), _describe_position(session, job)]
    alive = [worker for worker in list_workers(database) if worker.is_alive]
    if not alive:
        return [*reasons, "No worker is running. Type: dq worker"]
    busy = sum(worker.job_id is not None for worker in alive)
    verb = "is" if 1 in {busy, len(alive)} else "are"
    return [*reasons, f"{busy} of {plural(len(alive), 'worker')} {verb} busy."]


def explain(database: Database, row: JobRow) -> list[str]:
    """Say what a job waits for, or why it ended."""
    ended = f"It has {row.state}." if row.state == JobState.SUCCEEDED else f"It is {row.state}."
    return explain_wait(database, row.job_id) or [row.reason or ended]


def _list_obstacles(session: Session, job: Job) -> list[str]:
    """Say what keeps every worker from starting a queued job."""
    obstacles = []
    if job.held:
        obstacles.append(f"It is held. Type: dq release {job.id}")
    if session.get(Pause, 1) is not None:
        obstacles.append("The queue is paused. Type: dq resume")
    if job.not_before and not job.held:
        at = f"{job.not_before:%H:%M:%S} UTC"
        obstacles.append(f"It is tried again at {at}. Type: dq logs {job.id}")
    return obstacles


def _describe_position(session: Session, job: Job) -> str:
    waiting = Job.state == JobState.QUEUED, Job.held.is_(False), Job.owner == job.owner
    earlier = (Job.priority < job.priority) | ((Job.priority == job.priority) & (Job.id < job.id))
    ahead = session.scalar(select(func.count()).select_from(Job).where(*waiting, earlier)) or 0
    owners = list_owners_in(session)
    of_owner = f" of {job.owner}" if len(owners) > 1 else ""
    if not ahead:
        position = f"It is the next{of_owner or ' in the queue'}."
    else:
        are = "is" if ahead == 1 else "are"
        position = f"{plural(ahead, 'queued job')}{of_owner} {are} ahead of it."
    return f"{position} {_describe_turns(owners)}".rstrip()


def _describe_turns(owners: Sequence[OwnerRow]) -> str:
    """Say by which rule several owners take turns, and how they stand."""
    if len(owners) < 2:  # noqa: PLR2004 - nobody to share with
        return ""
    listed = "; ".join(
        f"{row.owner} {plural(row.workers, 'worker')}, {row.hours:.1f} h" for row in owners
    )
    return (
        "The next worker goes to the owner with the fewest workers, then to the one that used the "
        f"fewest hours lately: {listed}."
    )
