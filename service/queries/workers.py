"""The workers, and whether the queue is paused."""

from datetime import datetime

from sqlalchemy import select

from models.clock import now
from models.database import Database
from models.state import JobState
from models.tables import Job, Pause, Worker
from service.queries.rows import WorkerRow


def list_workers(database: Database) -> list[WorkerRow]:
    """Return the workers, with the jobs each has."""
    running = select(Job.worker, Job.id).where(Job.state == JobState.RUNNING).order_by(Job.id)
    query = select(Worker, now()).order_by(Worker.host, Worker.id)
    with database.reading() as session:
        jobs: dict[str | None, list[int]] = {}
        for worker, job_id in session.execute(running):
            jobs.setdefault(worker, []).append(job_id)
        return [
            _worker(worker, tuple(jobs.get(worker.id, ())), time)
            for worker, time in session.execute(query)
        ]


def is_paused(database: Database) -> bool:
    """Whether the queue is paused: workers take no jobs."""
    with database.reading() as session:
        return session.get(Pause, 1) is not None


def _worker(worker: Worker, job_ids: tuple[int, ...], time: datetime) -> WorkerRow:
    return WorkerRow(
        worker=worker.id,
        host=worker.host,
        device=worker.device,
        state=worker.state,
        job_id=max(job_ids, default=None),
        job_ids=job_ids,
        silent_seconds=max(0.0, (time - worker.heartbeat_at).total_seconds()),
        started_at=worker.started_at,
        device_uuid=worker.device_uuid,
        memory_used=worker.memory_used,
        memory_total=worker.memory_total,
    )
