"""Rows of the database, arranged and looked at by the tests."""

import uuid
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import select, update

from models.clock import from_now
from models.database import Database
from models.message import JobMessage
from models.metrics import EpochMetrics
from models.provenance import Provenance
from models.spec import ExperimentSpec
from models.state import JobState, Outcome
from models.tables import Attempt, Base, Epoch, Job, LogLine, Result, Tag, Worker
from service import jobs
from worker.execution import claims
from worker.execution.claims import Claim
from worker.execution.ending import CANCELLED, LEASE_LOST, RELEASED, Ending
from worker.execution.recorder import AttemptStart, AttemptUpdate, Recorder

#: 12 batches an epoch, 3 epochs: a few hundredths of a second.
SPEC = ExperimentSpec(dataset="digits", hidden=(16,), batch_size=100, epochs=3)

#: What an attempt ran on.
PROVENANCE = Provenance(
    dq="0.1.0",
    python="3.11",
    torch="2.13.0",
    cuda=None,
    device="a processor",
    device_uuid=None,
    host="here",
    git_commit=None,
    dataset_hash="0" * 64,
    threads=1,
)


class FakeBroker:
    """A broker that keeps the messages it is to publish."""

    def __init__(self) -> None:
        self.published: list[JobMessage] = []

    def publish(self, messages: Sequence[JobMessage]) -> None:
        self.published += messages


def spec(**changes: Any) -> ExperimentSpec:
    return ExperimentSpec.model_validate({**SPEC.model_dump(exclude={"keep"}), **changes})


def submit(database: Database, *specs: ExperimentSpec, **order: Any) -> list[int]:
    """Submit a sweep of the specs; its messages go nowhere."""
    submitted = jobs.submit(
        database, FakeBroker(), specs or (SPEC,), jobs.SubmitOptions(**order), uuid.uuid4().hex
    )
    return list(submitted.job_ids)


def submit_one(database: Database, **order: Any) -> int:
    return submit(database, SPEC, **order)[0]


def message(database: Database, job_id: int) -> JobMessage:
    return JobMessage(job_id, job(database, job_id).spec)


def claim(recorder: Recorder, job_id: int) -> Claim:
    """Take a queued job alone, whichever is next in the queue."""
    return claim_pack(recorder, job_id, lambda _: 1)[0]


def claim_pack(
    recorder: Recorder, job_id: int, most: Callable[[ExperimentSpec], int] = lambda _: 16
) -> list[Claim]:
    """Take a queued job and others of its shape, whichever is next in the queue."""
    with recorder.database.writing() as session:
        job = session.get_one(Job, job_id, with_for_update=True)
        assert job.state == JobState.QUEUED, f"job {job_id} is {job.state}"
        taken = claims.claim_with_peers(
            session,
            job,
            most,
            worker=recorder.worker,
            lease_seconds=recorder.lease_seconds,
        )
        return list(taken)


def claim_next(recorder: Recorder) -> Claim | None:
    """Take the next job alone, as a worker does; None if nothing may be started."""
    return next(iter(recorder.claim_next(lambda _: 1)), None)


class LeaseLost(Exception):
    """Raised here for a write that is refused because the attempt lost its lease."""


def record(recorder: Recorder, claim: Claim, update: AttemptUpdate) -> None:
    """Record what happened in an attempt; raise LeaseLost."""
    if recorder.renew({claim: update}):
        raise LeaseLost


def begin(recorder: Recorder, claim: Claim, provenance: Provenance, epochs_done: int) -> None:
    """Record where an attempt starts; raise LeaseLost."""
    record(recorder, claim, AttemptUpdate(start=AttemptStart(provenance, epochs_done)))


def succeed(recorder: Recorder, claim: Claim, update: AttemptUpdate) -> None:
    """Record a result; raise LeaseLost."""
    if recorder.succeed({claim: update}):
        raise LeaseLost


def fail(recorder: Recorder, claim: Claim, reason: str, detail: str = "") -> None:
    """Record a failure; raise LeaseLost."""
    end(recorder, claim, Ending(Outcome.FAILED, reason, detail))


def cancel(recorder: Recorder, claim: Claim) -> None:
    """Record a cancellation; raise LeaseLost."""
    end(recorder, claim, CANCELLED)


def release(recorder: Recorder, claim: Claim) -> None:
    """Give a job back; raise LeaseLost."""
    end(recorder, claim, RELEASED)


def end(recorder: Recorder, claim: Claim, ending: Ending) -> None:
    """Record how an attempt ended; raise LeaseLost."""
    if not recorder.end(claim, ending):
        raise LeaseLost


def is_cancelled(recorder: Recorder, claim: Claim) -> bool:
    """Return whether an attempt is to be cancelled; raise LeaseLost."""
    ending = recorder.find_endings([claim]).get(claim)
    if ending == LEASE_LOST:
        raise LeaseLost
    return ending == CANCELLED


def job(database: Database, job_id: int) -> Job:
    return get(database, Job, job_id)


def get(database: Database, table: Any, key: Any) -> Any:
    with database.reading() as session:
        return session.get_one(table, key)


def find(database: Database, table: Any, key: Any) -> Any:
    with database.reading() as session:
        return session.get(table, key)


def states(database: Database, job_ids: Sequence[int]) -> list[str]:
    return [job(database, job_id).state for job_id in job_ids]


def attempts(database: Database, job_id: int) -> list[Attempt]:
    return _of_job(database, Attempt, job_id)


def epochs(database: Database, job_id: int) -> list[Epoch]:
    return _of_job(database, Epoch, job_id)


def figures(database: Database, job_id: int) -> list[tuple[float, ...]]:
    """Return the epochs' figures, to the bit; only their times may differ from run to run."""
    return [
        (row.epoch, row.train_loss, row.train_accuracy, row.valid_loss, row.valid_accuracy)
        for row in epochs(database, job_id)
    ]


def log(database: Database, job_id: int) -> list[str]:
    return [line.text for line in _of_job(database, LogLine, job_id)]


def tags(database: Database, job_id: int) -> list[str]:
    return [row.tag for row in _of_job(database, Tag, job_id)]


def result(database: Database, job_id: int) -> Result | None:
    return find(database, Result, job_id)


def _of_job(database: Database, table: Any, job_id: int) -> list[Any]:
    query = select(table).where(table.job_id == job_id)
    with database.reading() as session:
        return list(session.scalars(query.order_by(*table.__table__.primary_key)))


def change(database: Database, job_id: int, **values: Any) -> None:
    with database.writing() as session:
        session.execute(update(Job).where(Job.id == job_id).values(**values))


def expire(database: Database, job_id: int) -> None:
    """Have a job's lease be over since a second ago."""
    change(database, job_id, lease_until=from_now(-1))


def add_worker(
    database: Database, name: str, silent_seconds: float = 0, state: str = "active"
) -> None:
    with database.writing() as session:
        session.add(
            Worker(
                id=name,
                host="here",
                pid=1,
                device="cpu",
                state=state,
                started_at=from_now(-100),
                heartbeat_at=from_now(-silent_seconds),
            )
        )


def everything(database: Database) -> dict[str, list[Any]]:
    """Return all rows of all tables: equal before and after what must change nothing."""
    with database.reading() as session:
        return {
            name: [
                tuple(row) for row in session.execute(select(table).order_by(*table.primary_key))
            ]
            for name, table in Base.metadata.tables.items()
        }


def measured(epoch: int) -> EpochMetrics:
    """Return the figures of an epoch, each different from those of the others."""
    return EpochMetrics(
        epoch=epoch,
        train_loss=1.0 / epoch,
        train_accuracy=0.5 + epoch / 100,
        valid_loss=2.0 / epoch,
        valid_accuracy=0.4 + epoch / 100,
        seconds=0.25,
    )


def measured_all() -> tuple[EpochMetrics, ...]:
    """Return the figures of all epochs of SPEC."""
    return tuple(measured(epoch) for epoch in range(1, SPEC.epochs + 1))
