"""The frozen rows that queries return; they know no SQL."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from models.metrics import EpochMetrics
from models.spec import ExperimentSpec
from models.state import JobState

#: A worker whose last heartbeat is older is taken for dead.
ALIVE_SECONDS = 15.0


@dataclass(frozen=True)
class JobRow:
    """One job in a list; the metrics are of its last epoch, unless another was chosen."""

    job_id: int
    sweep_id: int
    name: str | None
    owner: str
    state: JobState
    reason: str | None
    note: str | None
    spec: ExperimentSpec
    attempt: int
    epochs_done: int
    worker: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    held: bool
    metrics: Mapping[str, float]
    #: How long that epoch took; of jobs trained together, each has its share.
    epoch_seconds: float | None = None
    #: Of the epoch under way, where epochs take long.
    batches_done: int = 0

    @property
    def epochs_reached(self) -> float:
        """How many epochs it has done, with the done part of the one under way."""
        return self.epochs_done + self.batches_done / self.spec.batches

    @property
    def epochs_left(self) -> int:
        """How many epochs it still has to do."""
        return self.spec.epochs - self.epochs_done


@dataclass(frozen=True)
class AttemptRow:
    """One attempt at a job."""

    number: int
    worker: str
    started_at: datetime
    ended_at: datetime | None
    outcome: str | None
    detail: str | None
    resumed_epoch: int | None
    provenance: Mapping[str, Any] | None


@dataclass(frozen=True)
class JobDetail:
    """All that is known of one job."""

    row: JobRow
    tags: tuple[str, ...]
    epochs: tuple[EpochMetrics, ...]
    attempts: tuple[AttemptRow, ...]

    @property
    def provenance(self) -> Mapping[str, Any]:
        """What the last attempt that recorded it ran on and with; empty if none did."""
        return next((each.provenance for each in self.attempts[::-1] if each.provenance), {})


@dataclass(frozen=True)
class Curve:
    """The epochs of one job, oldest first, and the spec they are of."""

    job_id: int
    state: JobState
    spec: ExperimentSpec
    epochs: tuple[EpochMetrics, ...]


@dataclass(frozen=True)
class WorkerRow:
    """One worker; `is_alive` by the database's clock."""

    worker: str
    host: str
    device: str
    state: str
    #: The newest of its jobs.
    job_id: int | None
    #: All jobs that it runs: several if it trains them together.
    job_ids: tuple[int, ...]
    silent_seconds: float
    started_at: datetime
    device_uuid: str | None
    #: Of the device, in bytes, of all processes.
    memory_used: int | None
    memory_total: int | None

    @property
    def is_alive(self) -> bool:
        """Whether its heartbeat is fresh."""
        return self.silent_seconds < ALIVE_SECONDS


@dataclass(frozen=True)
class LogRow:
    """One line of a job's log."""

    line_id: int
    job_id: int
    attempt: int
    at: datetime
    text: str


@dataclass(frozen=True)
class Progress:
    """How far some jobs are: how many in each state, and epochs done of all there are."""

    states: Mapping[JobState, int]
    epochs_done: int
    epochs: int
    running: tuple[JobRow, ...]

    @property
    def jobs(self) -> int:
        """How many jobs there are."""
        return sum(self.states.values())

    @property
    def epochs_reached(self) -> float:
        """How many epochs are done, with the done parts of those under way."""
        return self.epochs_done + sum(row.epochs_reached - row.epochs_done for row in self.running)

    @property
    def open_jobs(self) -> int:
        """How many jobs have not ended."""
        return sum(number for state, number in self.states.items() if not state.is_final)


@dataclass(frozen=True)
class ComparedJob:
    """One job as a comparison sees it: its spec, and its final metrics if it succeeded.

    `trainer_version` is None while there is no result, `finished_at` while it has not ended.
    """

    job_id: int
    state: JobState
    spec: ExperimentSpec
    trainer_version: int | None
    metrics: Mapping[str, float]
    created_at: datetime | None = None
    finished_at: datetime | None = None
