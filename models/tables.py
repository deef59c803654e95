"""The SQL tables, which hold the truth about every job; `migrations/` makes them."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    MetaData,
    SmallInteger,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from models.clock import UtcDateTime
from models.metrics import METRICS

#: The newest revision in migrations/versions.
REVISION = "0005"
VERSION_TABLE = "dq_alembic_version"

_NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


#: JSON, which PostgreSQL keeps parsed.
DOCUMENT = JSON().with_variant(JSONB(), "postgresql")


class Base(DeclarativeBase):
    """The base of all tables."""

    metadata = MetaData(naming_convention=_NAMES)
    type_annotation_map = {datetime: UtcDateTime, dict[str, Any]: DOCUMENT}  # noqa: RUF012 - SQLAlchemy reads it from the class


class Sweep(Base):
    """The jobs of one submit."""

    __tablename__ = "sweeps"
    __table_args__ = (UniqueConstraint("submit_token"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    #: Random, from the client: a submit repeated after a lost answer inserts nothing twice.
    submit_token: Mapped[str] = mapped_column(String(32))
    name: Mapped[str | None] = mapped_column(String(200))
    created_at: Mapped[datetime]


class Job(Base):
    """One queued execution of a spec."""

    __tablename__ = "jobs"
    __table_args__ = (
        UniqueConstraint("sweep_id", "ordinal"),
        CheckConstraint(
            "state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')", name="state"
        ),
        Index(
            "ix_jobs_open",
            "state",
            "lease_until",
            postgresql_where=text("state IN ('queued', 'running')"),
            sqlite_where=text("state IN ('queued', 'running')"),
        ),
        Index("ix_jobs_configuration", "configuration"),
        Index("ix_jobs_state_id", "state", "id"),
        Index(
            "ix_jobs_next",
            "owner",
            "priority",
            "id",
            postgresql_where=text("state = 'queued' AND held IS false"),
            sqlite_where=text("state = 'queued' AND held IS 0"),
        ),
        Index(
            "ix_jobs_queued_shape",
            "shape",
            "priority",
            "id",
            postgresql_where=text("state = 'queued'"),
            sqlite_where=text("state = 'queued'"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    sweep_id: Mapped[int] = mapped_column(ForeignKey("sweeps.id"))
    ordinal: Mapped[int]
    name: Mapped[str | None] = mapped_column(String(200))
    #: Who submitted it.
    owner: Mapped[str] = mapped_column(String(100), default="", server_default=text("''"))
    spec: Mapped[dict[str, Any]]
    configuration: Mapped[str] = mapped_column(String(16))
    #: What jobs must share to be trained together (ExperimentSpec.shape).
    shape: Mapped[str] = mapped_column(String(16))
    state: Mapped[str] = mapped_column(String(12))
    #: Why it failed, was cancelled or waits, for people.
    reason: Mapped[str | None] = mapped_column(Text)
    #: What a person wrote about it.
    note: Mapped[str | None] = mapped_column(Text)

    #: The fencing token: it grows at each claim.
    attempt: Mapped[int] = mapped_column(default=0)
    lease_until: Mapped[datetime | None]
    worker: Mapped[str | None] = mapped_column(String(200))
    cancel_requested: Mapped[bool] = mapped_column(default=False)
    #: Whether the newest attempt was claimed together with other jobs.
    packed: Mapped[bool] = mapped_column(default=False)
    #: Whether it was lost or failed together with others, and so runs alone from now on.
    suspect: Mapped[bool] = mapped_column(default=False)
    #: How many leases were lost in a row without a newer checkpoint in between.
    crashes: Mapped[int] = mapped_column(SmallInteger, default=0)
    #: `checkpoint_epoch` when the lease was last lost.
    progress_mark: Mapped[int] = mapped_column(default=0)
    epochs_done: Mapped[int] = mapped_column(default=0)
    #: Of the epoch after those; updated now and then while the job runs.
    batches_done: Mapped[int] = mapped_column(default=0, server_default="0")
    #: The file, under the checkpoint folder, that the next attempt resumes from.
    checkpoint: Mapped[str | None] = mapped_column(String(200))
    checkpoint_epoch: Mapped[int] = mapped_column(default=0)

    priority: Mapped[int] = mapped_column(SmallInteger)
    held: Mapped[bool] = mapped_column(default=False)
    max_crashes: Mapped[int] = mapped_column(SmallInteger)
    stall_seconds: Mapped[float]
    #: The longest an attempt may take; None is no limit.
    timeout_seconds: Mapped[float | None]
    keep_checkpoint: Mapped[bool] = mapped_column(default=False)

    #: A queued job is not started before that time; None is no limit.
    not_before: Mapped[datetime | None]

    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class Owner(Base):
    """Somebody who submitted jobs, and how much of the workers they used (models/usage.py)."""

    __tablename__ = "owners"

    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    used: Mapped[float] = mapped_column(default=0.0)


class SweepMember(Base):
    """A job of another sweep that a sweep asked for, too: it is shared, and not run again."""

    __tablename__ = "members"

    sweep_id: Mapped[int] = mapped_column(ForeignKey("sweeps.id"), primary_key=True)
    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id"), primary_key=True, index=True)


class Tag(Base):
    """A word by which a person finds jobs."""

    __tablename__ = "tags"

    tag: Mapped[str] = mapped_column(String(100), primary_key=True)
    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id"), primary_key=True, index=True)


class Attempt(Base):
    """One worker's run of a job, from its claim to its end."""

    __tablename__ = "attempts"
    __table_args__ = (Index("ix_attempts_worker_started_at", "worker", "started_at"),)

    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    worker: Mapped[str] = mapped_column(String(200))
    pid: Mapped[int]
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    outcome: Mapped[str | None] = mapped_column(String(12))
    #: What went wrong, with the traceback where there is one.
    detail: Mapped[str | None] = mapped_column(Text)
    provenance: Mapped[dict[str, Any] | None]
    #: After how many epochs it started, from a checkpoint; 0 is from scratch.
    resumed_epoch: Mapped[int | None]


class LogLine(Base):
    """One event of a job, as `dq logs` prints it."""

    __tablename__ = "log_lines"

    id: Mapped[int] = mapped_column(primary_key=True)
    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id"), index=True)
    #: The attempt it belongs to; 0 is before the first.
    attempt: Mapped[int]
    at: Mapped[datetime]
    text: Mapped[str] = mapped_column(Text)


class Epoch(Base):
    """The metrics of one epoch (models.metrics.EpochMetrics)."""

    __tablename__ = "epochs"

    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    epoch: Mapped[int] = mapped_column(primary_key=True)
    attempt: Mapped[int]
    train_loss: Mapped[float]
    train_accuracy: Mapped[float]
    valid_loss: Mapped[float]
    valid_accuracy: Mapped[float]
    seconds: Mapped[float]


class Result(Base):
    """The final metrics of a succeeded job, which has one result."""

    __tablename__ = "results"
    #: For pages sorted by any metric.
    __table_args__ = tuple(
        Index(f"ix_results_{metric}_job_id", metric, "job_id") for metric in METRICS
    )

    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    attempt: Mapped[int]
    trainer_version: Mapped[int]
    train_loss: Mapped[float]
    train_accuracy: Mapped[float]
    valid_loss: Mapped[float]
    valid_accuracy: Mapped[float]
    #: Wall time of all epochs together.
    seconds: Mapped[float]


class Pause(Base):
    """While it has a row, no worker claims a job: `dq pause`."""

    __tablename__ = "pauses"

    id: Mapped[int] = mapped_column(primary_key=True)
    since: Mapped[datetime]


class Worker(Base):
    """A worker process; it is alive while its heartbeat is recent."""

    __tablename__ = "workers"

    id: Mapped[str] = mapped_column(String(200), primary_key=True)
    host: Mapped[str] = mapped_column(String(200))
    pid: Mapped[int]
    device: Mapped[str] = mapped_column(String(200))
    #: Of a GPU, with its memory in bytes that any program uses.
    device_uuid: Mapped[str | None] = mapped_column(String(64))
    memory_used: Mapped[int | None] = mapped_column(BigInteger)
    memory_total: Mapped[int | None] = mapped_column(BigInteger)
    #: A WorkerState.
    state: Mapped[str] = mapped_column(String(12))
    started_at: Mapped[datetime]
    heartbeat_at: Mapped[datetime]


class Repair(Base):
    """One pass of a reconciler that repaired something."""

    __tablename__ = "repairs"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    #: A field of worker.supervisor.reconciler.Repairs.
    action: Mapped[str] = mapped_column(String(12))
    jobs: Mapped[int]


class Compatibility(Base):
    """The oldest revision whose dq may still use these tables, in one row with `id` 1."""

    __tablename__ = "compatibility"

    id: Mapped[int] = mapped_column(primary_key=True)
    oldest_revision: Mapped[str] = mapped_column(String(32))
