"""The workers table, which says who is alive: `dq workers` reads it."""

import os
import secrets
import socket
from collections.abc import Sequence

from sqlalchemy import delete, exists, or_, select
from sqlalchemy.orm import aliased

from models import lifecycle
from models.clock import from_now, now
from models.database import Database
from models.state import JobState, Outcome, WorkerState
from models.tables import Attempt, Job, Worker
from worker.supervisor.devices import Device
from worker.supervisor.gpu_memory import measure

#: A container that is restarted has its host name and process ids again.
_TOKEN = secrets.token_hex(2)
_FORGOTTEN_AFTER_SECONDS = 24 * 3600


def worker_name(device: Device) -> str:
    """Return a name that no other process ever has: device-token-supervisor@host."""
    return f"{device.name}-{_TOKEN}-{os.getpid()}@{socket.gethostname()}"


class WorkerRegistry:
    """The workers of one supervisor."""

    def __init__(self, database: Database, devices: Sequence[Device]) -> None:
        self._database = database
        self._devices = {worker_name(device): device for device in devices}

    def beat(self) -> None:
        """Record that the workers are alive; delete workers that were silent for a day."""
        with self._database.writing() as session:
            for name, device in self._devices.items():
                worker = session.get(Worker, name) or _new_worker(name, device)
                worker.heartbeat_at = now()
                if memory := device.uuid and measure(device.uuid):
                    worker.memory_used, worker.memory_total = memory.used, memory.total
                session.add(worker)
            silent = Worker.heartbeat_at < from_now(-_FORGOTTEN_AFTER_SECONDS)
            session.execute(delete(Worker).where(silent))

    def find_draining(self) -> set[str]:
        """Return the names of the workers that are to end after their current job."""
        draining = Worker.id.in_(self._devices), Worker.state == WorkerState.DRAINING
        with self._database.reading() as session:
            return set(session.scalars(select(Worker.id).where(*draining)))

    def sign_off(self) -> None:
        """Delete the workers, whose processes have ended; give back what they ran."""
        with self._database.writing() as session:
            running = Job.state == JobState.RUNNING, Job.worker.in_(self._devices)
            for job in session.scalars(select(Job).where(*running).with_for_update()):
                lifecycle.give_back(session, job, "the worker was stopped")
            session.execute(delete(Worker).where(Worker.id.in_(self._devices)))

    def find_stuck_children(self, grace_seconds: float) -> list[int]:
        """Return the pids of children that lost their job that long ago and claimed no other.

        A healthy one notices within a second that it lost its lease; a stopped or stuck one would
        keep its device busy for ever.
        """
        other = aliased(Attempt)
        # A process that lost one job may still train others.
        has_work = or_(other.outcome.is_(None), other.started_at > Attempt.started_at)
        stuck = select(Attempt.pid).where(
            Attempt.worker.in_(self._devices),
            Attempt.outcome == Outcome.LOST,
            Attempt.ended_at < from_now(-grace_seconds),
            ~exists().where(other.worker == Attempt.worker, has_work),
        )
        with self._database.reading() as session:
            return list(session.scalars(stuck.distinct()))


def _new_worker(name: str, device: Device) -> Worker:
    return Worker(
        id=name,
        host=socket.gethostname(),
        pid=os.getpid(),
        device=device.model,
        device_uuid=device.uuid,
        state=WorkerState.ACTIVE,
        started_at=now(),
    )
