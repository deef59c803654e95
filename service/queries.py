"""What a person reads: frozen rows out of SQL."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, case, func, select
from sqlalchemy.orm import Session

from models.clock import now
from models.database import Database
from models.errors import UsageError
from models.metrics import EpochMetrics
from models.position import Position, read_position
from models.spec import ExperimentSpec
from models.state import JobState, Outcome
from models.tables import Attempt, Epoch, Job, LogLine, Pause, Repair, Result, Tag, Worker
from service import spec_sql
from service.comparison import Run
from service.moment import EPOCH_METRICS, FINAL, Moment
from service.report import count

#: A worker whose last heartbeat is older is taken for dead.
ALIVE_SECONDS = 15.0


@dataclass(frozen=True)
class JobRow:
    """One job in a listing; the metrics are the newest, final if it succeeded."""

    job_id: int
    sweep_id: int
    name: str | None
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
    #: How long the epoch of these metrics took; of a job in a pack, its share of the pack's time.
    epoch_seconds: float | None = None
    #: Where in its epoch it is, if it runs and its epochs take long.
    position: Position | None = None

    @property
    def epochs_reached(self) -> float:
        """How many epochs it has done, with the part of the one under way."""
        return self.epochs_done + (self.position.share if self.position else 0.0)

    @property
    def epochs_left(self) -> int:
        """How many epochs it still has to do."""
        return self.spec.epochs - self.epochs_done


@dataclass(frozen=True)
class AttemptRow:
    """One worker's try at a job."""

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
    #: All that it runs: several where it trains them together.
    job_ids: tuple[int, ...]
    silent_seconds: float
    started_at: datetime
    device_uuid: str | None
    #: Of the device, in bytes, whoever uses it.
    memory_used: int | None
    memory_total: int | None

    @property
    def is_alive(self) -> bool:
        """Whether its heartbeat is fresh."""
        return self.silent_seconds < ALIVE_SECONDS


@dataclass(frozen=True)
class Operation:
    """What somebody who runs dq watches; counts are of all time."""

    states: Mapping[JobState, int]
    #: Seconds since the job that is queued longest was submitted; None if none is queued.
    oldest_queued_seconds: float | None
    attempts: Mapping[Outcome, int]
    #: How many jobs the reconcilers mended, by what they did.
    repairs: Mapping[str, int]
    succeeded: int
    succeeded_seconds: float
    #: How many jobs took at most so many seconds, for each of SECONDS_BUCKETS.
    succeeded_within: Mapping[float, int]
    workers: tuple[WorkerRow, ...]


#: From a small network on a CPU to a day.
SECONDS_BUCKETS = (1, 5, 15, 60, 300, 900, 3600, 14400, 86400)


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
        """How many jobs these are."""
        return sum(self.states.values())

    @property
    def epochs_reached(self) -> float:
        """The epochs done, with the parts of those under way."""
        return self.epochs_done + sum(row.epochs_reached - row.epochs_done for row in self.running)

    @property
    def open_jobs(self) -> int:
        """How many are not at their end."""
        return sum(number for state, number in self.states.items() if not state.is_final)


def count_states(database: Database) -> Mapping[JobState, int]:
    """Return how many jobs are in each state."""
    with database.reading() as session:
        return _count_states(session)


def count_jobs(database: Database, which: ColumnElement[bool]) -> int:
    """Return how many jobs are selected."""
    with database.reading() as session:
        return session.scalar(select(func.count()).select_from(Job).where(which)) or 0


def check_moment(database: Database, which: ColumnElement[bool], moment: Moment) -> None:
    """Raise UsageError for an epoch that none of the selected jobs, if there are any, will have."""
    if moment.epoch is None:
        return
    with database.reading() as session:
        longest = session.scalar(select(func.max(spec_sql.column("epochs"))).where(which))
    if longest is not None and longest < moment.epoch:
        raise UsageError(
            f"--at {moment}: none of these jobs has that epoch: give at most epoch:{longest}"
        )


def list_jobs(
    database: Database, which: ColumnElement[bool], limit: int | None = None
) -> list[JobRow]:
    """Return the newest of the selected jobs, newest first."""
    with database.reading() as session:
        return read_rows(session, select_jobs(which).order_by(Job.id.desc()).limit(limit))


def list_runs(database: Database, which: ColumnElement[bool], moment: Moment = FINAL) -> list[Run]:
    """Return the selected jobs as a comparison sees them, with the metrics of that moment."""
    query = select(Job, Result, Epoch).outerjoin(Result)
    query = query.outerjoin(Epoch, moment.condition()).where(which).order_by(Job.id)
    with database.reading() as session:
        return [_run(*row, moment) for row in session.execute(query)]


def list_curves(database: Database, which: ColumnElement[bool]) -> list[Curve]:
    """Return the learning curves of the selected jobs, in two queries."""
    jobs = select(Job.id, Job.state, Job.spec).where(which).order_by(Job.id)
    ids = select(Job.id).where(which)
    # Columns, not objects: there are a hundred epochs to a job.
    columns = [getattr(Epoch, name) for name in ("epoch", *_IN_ORDER)]
    epochs = select(Epoch.job_id, *columns).where(Epoch.job_id.in_(ids))
    with database.reading() as session:
        by_job: dict[int, list[EpochMetrics]] = {}
        for job_id, *metrics in session.execute(epochs.order_by(Epoch.job_id, Epoch.epoch)):
            by_job.setdefault(job_id, []).append(EpochMetrics(*metrics))
        return [
            Curve(
                job.id,
                JobState(job.state),
                ExperimentSpec.model_validate(job.spec),
                tuple(by_job.get(job.id, ())),
            )
            for job in session.execute(jobs)
        ]


def show_job(database: Database, job_id: int) -> JobDetail:
    """Return one job; raise UsageError if there is none of that id."""
    with database.reading() as session:
        rows = read_rows(session, select_jobs(Job.id == job_id))
        if not rows:
            raise UsageError(f"There is no job {job_id}. Type: dq results")
        tags = select(Tag.tag).where(Tag.job_id == job_id).order_by(Tag.tag)
        epochs = select(Epoch).where(Epoch.job_id == job_id).order_by(Epoch.epoch)
        attempts = select(Attempt).where(Attempt.job_id == job_id).order_by(Attempt.number)
        return JobDetail(
            row=rows[0],
            tags=tuple(session.scalars(tags)),
            epochs=tuple(_metrics(epoch) for epoch in session.scalars(epochs)),
            attempts=tuple(_attempt(attempt) for attempt in session.scalars(attempts)),
        )


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


def measure_operation(database: Database) -> Operation:
    """Return what a monitor asks for, in a few scans of counts."""
    workers = tuple(list_workers(database))
    with database.reading() as session:
        oldest = select(func.min(Job.created_at), now()).where(Job.state == JobState.QUEUED)
        created_at, time = session.execute(oldest).one()
        outcomes = select(Attempt.outcome, func.count()).group_by(Attempt.outcome)
        repairs = select(Repair.action, func.sum(Repair.jobs)).group_by(Repair.action)
        within = [
            func.sum(case((Result.seconds <= limit, 1), else_=0)) for limit in SECONDS_BUCKETS
        ]
        taken = select(func.count(), func.sum(Result.seconds), *within)
        succeeded, seconds, *counts = session.execute(taken).one()
        ended = dict(session.execute(outcomes).all())
        return Operation(
            states=_count_states(session),
            oldest_queued_seconds=(time - created_at).total_seconds() if created_at else None,
            attempts={outcome: ended.get(outcome, 0) for outcome in Outcome},
            repairs=dict(session.execute(repairs).all()),
            succeeded=succeeded,
            succeeded_seconds=seconds or 0.0,
            succeeded_within={
                limit: found or 0 for limit, found in zip(SECONDS_BUCKETS, counts, strict=True)
            },
            workers=workers,
        )


def list_log(
    database: Database, which: ColumnElement[bool], after: int = 0, limit: int | None = None
) -> list[LogRow]:
    """Return the log lines of the selected jobs after the line of that id, oldest first."""
    jobs = select(Job.id).where(which)
    query = select(LogLine).where(LogLine.job_id.in_(jobs), LogLine.id > after)
    with database.reading() as session:
        lines = session.scalars(query.order_by(LogLine.id).limit(limit))
        return [LogRow(line.id, line.job_id, line.attempt, line.at, line.text) for line in lines]


def measure_progress(
    database: Database, which: ColumnElement[bool], most_running: int = 16
) -> Progress:
    """Return how far the selected jobs are, with so many of those that run, oldest first."""
    epochs = spec_sql.column("epochs")
    done = case((Job.state == JobState.SUCCEEDED, epochs), else_=Job.epochs_done)
    with database.reading() as session:
        totals = select(func.coalesce(func.sum(done), 0), func.coalesce(func.sum(epochs), 0))
        epochs_done, epochs_in_all = session.execute(totals.where(which)).one()
        running = select_jobs(which).where(Job.state == JobState.RUNNING).order_by(Job.id)
        return Progress(
            states=_count_states(session, which),
            epochs_done=int(epochs_done),
            epochs=int(epochs_in_all),
            running=tuple(read_rows(session, running.limit(most_running))),
        )


def measure_left(running: Sequence[JobRow]) -> dict[int, float | None]:
    """Return by job for how many seconds it still runs; None before its first epoch.

    Jobs of one worker are a pack: epoch by epoch they train together, each for its share of time.
    """
    packs: dict[str | None, list[JobRow]] = {}
    for job in running:
        packs.setdefault(job.worker, []).append(job)
    return {job.job_id: _measure_left(job, packs[job.worker]) for job in running}


def _measure_left(job: JobRow, pack: Iterable[JobRow]) -> float | None:
    if job.epoch_seconds is None:
        return None
    return sum(min(each.epochs_left, job.epochs_left) * (each.epoch_seconds or 0) for each in pack)


def list_ids(database: Database, which: ColumnElement[bool]) -> list[int]:
    """Return the ids of the selected jobs."""
    with database.reading() as session:
        return list(session.scalars(select(Job.id).where(which).order_by(Job.id)))


def is_paused(database: Database) -> bool:
    """Whether workers were told to take no jobs."""
    with database.reading() as session:
        return session.get(Pause, 1) is not None


def explain_wait(database: Database, job_id: int) -> list[str]:
    """Say what a queued job waits for, in sentences; empty for a job that is not queued."""
    with database.reading() as session:
        job = session.get(Job, job_id)
        if job is None or job.state != JobState.QUEUED:
            return []
        reasons = [*_blocks(session, job), *_places(session, job)]
    alive = [worker for worker in list_workers(database) if worker.is_alive]
    if not alive:
        return [*reasons, "No worker is running. Type: dq worker"]
    busy = sum(worker.job_id is not None for worker in alive)
    verb = "is" if 1 in {busy, len(alive)} else "are"
    return [*reasons, f"{busy} of {count(len(alive), 'worker')} {verb} busy."]


def explain(database: Database, row: JobRow) -> list[str]:
    """Say in sentences what a job waits for, or why it ended."""
    ended = f"It has {row.state}." if row.state == JobState.SUCCEEDED else f"It is {row.state}."
    return explain_wait(database, row.job_id) or [row.reason or ended]


def _blocks(session: Session, job: Job) -> list[str]:
    """Say what keeps a queued job from being started by whatever worker."""
    blocks = []
    if job.held:
        blocks.append(f"It is held. Type: dq release {job.id}")
    if session.get(Pause, 1) is not None:
        blocks.append("The queue is paused. Type: dq resume")
    if not job.publishes and not job.held:
        blocks.append("Its message is not in Redis yet; a worker will send it. See: dq doctor")
    return blocks


def _places(session: Session, job: Job) -> list[str]:
    waiting = Job.state == JobState.QUEUED, Job.held.is_(False)
    earlier = (Job.priority < job.priority) | ((Job.priority == job.priority) & (Job.id < job.id))
    ahead = session.scalar(select(func.count()).select_from(Job).where(*waiting, earlier)) or 0
    if not ahead:
        return ["It is the next in the queue."]
    return [f"{count(ahead, 'queued job')} {'is' if ahead == 1 else 'are'} ahead of it."]


def _count_states(
    session: Session, which: ColumnElement[bool] | None = None
) -> Mapping[JobState, int]:
    query = select(Job.state, func.count()).group_by(Job.state)
    found = dict(session.execute(query if which is None else query.where(which)).all())
    return {state: found.get(state, 0) for state in JobState}


def select_jobs(which: ColumnElement[bool], moment: Moment = FINAL) -> Select[Job, Epoch]:
    """Select jobs, each with its epoch of that moment, for `read_rows`."""
    return select(Job, Epoch).outerjoin(Epoch, moment.condition()).where(which)


def read_rows(session: Session, query: Select[Job, Epoch]) -> list[JobRow]:
    """Return the rows of a query that `select_jobs` began."""
    return [to_row(job, epoch) for job, epoch in session.execute(query)]


def to_row(job: Job, epoch: Epoch | None) -> JobRow:
    """Return a job's row with the metrics of an epoch."""
    position = read_position(job.reason) if job.state == JobState.RUNNING else None
    return JobRow(
        job_id=job.id,
        sweep_id=job.sweep_id,
        name=job.name,
        state=JobState(job.state),
        reason=None if position else job.reason,
        note=job.note,
        spec=ExperimentSpec.model_validate(job.spec),
        attempt=job.attempt,
        epochs_done=job.epochs_done,
        worker=job.worker,
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        held=job.held,
        metrics={name: getattr(epoch, name) for name in EPOCH_METRICS} if epoch else {},
        epoch_seconds=epoch.seconds if epoch else None,
        position=position,
    )


def _run(job: Job, result: Result | None, epoch: Epoch | None, moment: Moment) -> Run:
    metrics = {name: getattr(epoch, name) for name in EPOCH_METRICS} if result and epoch else {}
    if result and moment.is_final:
        metrics["seconds"] = result.seconds
    return Run(
        job_id=job.id,
        state=JobState(job.state),
        spec=ExperimentSpec.model_validate(job.spec),
        trainer_version=result.trainer_version if result else None,
        metrics=metrics,
    )


def _metrics(epoch: Epoch) -> EpochMetrics:
    return EpochMetrics(epoch.epoch, *(getattr(epoch, name) for name in _IN_ORDER))


_IN_ORDER = ("train_loss", "train_accuracy", "valid_loss", "valid_accuracy", "seconds")


def _attempt(attempt: Attempt) -> AttemptRow:
    return AttemptRow(
        number=attempt.number,
        worker=attempt.worker,
        started_at=attempt.started_at,
        ended_at=attempt.ended_at,
        outcome=attempt.outcome,
        detail=attempt.detail,
        resumed_epoch=attempt.resumed_epoch,
        provenance=attempt.provenance,
    )


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
