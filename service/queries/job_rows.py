"""How jobs are selected and made into rows, for the queries that list them."""

from collections.abc import Mapping

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.orm import Session

from models.metrics import EPOCH_METRICS
from models.spec import ExperimentSpec
from models.state import JobState
from models.tables import Epoch, Job
from service.queries.epoch_choice import FINAL
from service.queries.rows import JobRow


def select_jobs(which: ColumnElement[bool]) -> Select[Job, Epoch]:
    """Select jobs, each with its last epoch."""
    return select(Job, Epoch).outerjoin(Epoch, FINAL.condition()).where(which)


def fetch_job_rows(session: Session, query: Select[Job, Epoch]) -> list[JobRow]:
    """Return the rows of a query that `select_jobs` began."""
    return [make_job_row(job, epoch) for job, epoch in session.execute(query)]


def make_job_row(job: Job, epoch: Epoch | None) -> JobRow:
    """Return the row of a job with the metrics of one of its epochs."""
    return JobRow(
        job_id=job.id,
        sweep_id=job.sweep_id,
        name=job.name,
        owner=job.owner,
        state=JobState(job.state),
        reason=job.reason,
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
        batches_done=job.batches_done if job.state == JobState.RUNNING else 0,
    )


def count_states_in(
    session: Session, which: ColumnElement[bool] | None = None
) -> Mapping[JobState, int]:
    """Return how many jobs, of all or of those selected, are in each state."""
    query = select(Job.state, func.count()).group_by(Job.state)
    found = dict(session.execute(query if which is None else query.where(which)).all())
    return {state: found.get(state, 0) for state in JobState}
