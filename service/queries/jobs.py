"""Jobs as people read them: listed, counted, compared, and one job in full."""

from collections.abc import Mapping
from dataclasses import fields

from sqlalchemy import ColumnElement, func, select

from models.database import Database
from models.errors import UsageError
from models.metrics import EPOCH_METRICS, METRICS, EpochMetrics
from models.spec import ExperimentSpec
from models.state import JobState
from models.tables import Attempt, Epoch, Job, LogLine, Result, Tag
from service.queries import spec_columns
from service.queries.epoch_choice import FINAL, EpochChoice
from service.queries.job_rows import count_states_in, fetch_job_rows, select_jobs
from service.queries.rows import AttemptRow, ComparedJob, Curve, JobDetail, JobRow, LogRow
from service.queries.selectors import parse_selectors


def count_states(database: Database) -> Mapping[JobState, int]:
    """Return how many jobs are in each state."""
    with database.reading() as session:
        return count_states_in(session)


def count_jobs(database: Database, which: ColumnElement[bool]) -> int:
    """Return how many jobs are selected."""
    with database.reading() as session:
        return session.scalar(select(func.count()).select_from(Job).where(which)) or 0


def check_epoch_choice(
    database: Database, which: ColumnElement[bool], epoch_choice: EpochChoice
) -> None:
    """Raise UsageError for an epoch that none of the selected jobs, if there are any, will have."""
    if epoch_choice.epoch is None:
        return
    with database.reading() as session:
        longest = session.scalar(select(func.max(spec_columns.column("epochs"))).where(which))
    if longest is not None and longest < epoch_choice.epoch:
        raise UsageError(
            f"--at {epoch_choice}: none of these jobs has that epoch: give at most epoch:{longest}"
        )


def list_jobs(
    database: Database, which: ColumnElement[bool], limit: int | None = None
) -> list[JobRow]:
    """Return the newest of the selected jobs, newest first."""
    with database.reading() as session:
        return fetch_job_rows(session, select_jobs(which).order_by(Job.id.desc()).limit(limit))


def list_ids(database: Database, which: ColumnElement[bool]) -> list[int]:
    """Return the ids of the selected jobs."""
    with database.reading() as session:
        return list(session.scalars(select(Job.id).where(which).order_by(Job.id)))


def list_baseline_jobs(
    database: Database, which: ColumnElement[bool], baseline: str | None
) -> list[int] | None:
    """Return the ids of the selected jobs that meet a baseline, if that is a condition."""
    if not set(baseline or "") & set("=<>("):
        return None
    try:
        condition = parse_selectors((), baseline)
    except UsageError as error:
        raise UsageError(str(error).replace("--where", "--baseline", 1)) from None
    return list_ids(database, which & condition)


def list_compared_jobs(
    database: Database, which: ColumnElement[bool], epoch_choice: EpochChoice = FINAL
) -> list[ComparedJob]:
    """Return the selected jobs as a comparison sees them, with the metrics of the chosen epoch."""
    query = select(Job, Result, Epoch).outerjoin(Result)
    query = query.outerjoin(Epoch, epoch_choice.condition()).where(which).order_by(Job.id)
    with database.reading() as session:
        return [_make_compared_job(*row, epoch_choice) for row in session.execute(query)]


def list_curves(database: Database, which: ColumnElement[bool]) -> list[Curve]:
    """Return the learning curves of the selected jobs, in two queries."""
    jobs = select(Job.id, Job.state, Job.spec).where(which).order_by(Job.id)
    ids = select(Job.id).where(which)
    # Columns, not objects: there are a hundred epochs to a job.
    columns = [getattr(Epoch, name) for name in ("epoch", *METRICS)]
    epochs = select(Epoch.job_id, *columns).where(Epoch.job_id.in_(ids))
    with database.reading() as session:
        by_job: dict[int, list[EpochMetrics]] = {}
        for job_id, *metrics in session.execute(epochs.order_by(Epoch.job_id, Epoch.epoch)):
            by_job.setdefault(job_id, []).append(EpochMetrics(*metrics))
        return [
            Curve(
                job_id,
                JobState(state),
                ExperimentSpec.model_validate(spec),
                tuple(by_job.get(job_id, ())),
            )
            for job_id, state, spec in session.execute(jobs)
        ]


def show_job(database: Database, job_id: int) -> JobDetail:
    """Return one job; raise UsageError if there is none of that id."""
    with database.reading() as session:
        rows = fetch_job_rows(session, select_jobs(Job.id == job_id))
        if not rows:
            raise UsageError(f"There is no job {job_id}. Type: dq results")
        tags = select(Tag.tag).where(Tag.job_id == job_id).order_by(Tag.tag)
        epochs = select(Epoch).where(Epoch.job_id == job_id).order_by(Epoch.epoch)
        attempts = select(Attempt).where(Attempt.job_id == job_id).order_by(Attempt.number)
        return JobDetail(
            row=rows[0],
            tags=tuple(session.scalars(tags)),
            epochs=tuple(_make_epoch_metrics(epoch) for epoch in session.scalars(epochs)),
            attempts=tuple(_make_attempt_row(attempt) for attempt in session.scalars(attempts)),
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


def _make_compared_job(
    job: Job, result: Result | None, epoch: Epoch | None, epoch_choice: EpochChoice
) -> ComparedJob:
    metrics = {name: getattr(epoch, name) for name in EPOCH_METRICS} if result and epoch else {}
    if result and epoch_choice.is_final:
        metrics["seconds"] = result.seconds
    return ComparedJob(
        job_id=job.id,
        state=JobState(job.state),
        spec=ExperimentSpec.model_validate(job.spec),
        trainer_version=result.trainer_version if result else None,
        metrics=metrics,
        created_at=job.created_at,
        finished_at=job.finished_at,
    )


def _make_epoch_metrics(epoch: Epoch) -> EpochMetrics:
    return EpochMetrics(epoch.epoch, *(getattr(epoch, name) for name in METRICS))


def _make_attempt_row(attempt: Attempt) -> AttemptRow:
    return AttemptRow(*(getattr(attempt, field.name) for field in fields(AttemptRow)))
