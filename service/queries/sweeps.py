"""Pages of sweeps, each with the states of its jobs and its best accuracy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Subquery, exists, func, select, union_all
from sqlalchemy.orm import Session

from models.database import Database
from models.state import JobState
from models.tables import Job, Result, Sweep, SweepMember


@dataclass(frozen=True)
class SweepRow:
    """One sweep; jobs that it shares with earlier ones count."""

    sweep_id: int
    name: str | None
    created_at: datetime
    states: Mapping[JobState, int]
    configurations: int
    #: The best final validation accuracy of any job, as a fraction.
    best_valid_accuracy: float | None

    @property
    def jobs(self) -> int:
        """How many jobs it asked for."""
        return sum(self.states.values())


@dataclass(frozen=True)
class SweepPage:
    """One page of sweeps; `next` is the cursor of the page after it, None on the last page."""

    rows: tuple[SweepRow, ...]
    next: int | None


@dataclass(frozen=True)
class SweepRequest:
    """A page of sweeps: at most `limit`, from the sweep that follows `after` on."""

    limit: int = 25
    is_descending: bool = True
    after: int | None = None


def read_sweeps(
    database: Database, which: ColumnElement[bool] | None, request: SweepRequest
) -> SweepPage:
    """Return the sweeps that made at least one of the selected jobs; all sweeps if it is None."""
    order = Sweep.id.desc() if request.is_descending else Sweep.id
    query = select(Sweep).order_by(order).limit(request.limit + 1)
    if which is not None:
        query = query.where(exists().where(Job.sweep_id == Sweep.id, which))
    if request.after is not None:
        after = request.after
        query = query.where(Sweep.id < after if request.is_descending else Sweep.id > after)
    with database.reading() as session:
        found = session.scalars(query).all()
        rows = _make_rows(session, found[: request.limit])
    return SweepPage(rows, rows[-1].sweep_id if len(found) > request.limit else None)


def _make_rows(session: Session, sweeps: Sequence[Sweep]) -> tuple[SweepRow, ...]:
    jobs = _jobs_of([sweep.id for sweep in sweeps])
    states, totals = _count_states(session, jobs), _summarize(session, jobs)
    return tuple(
        SweepRow(
            sweep.id,
            sweep.name,
            sweep.created_at,
            {state: states.get((sweep.id, state), 0) for state in JobState},
            *totals.get(sweep.id, (0, None)),
        )
        for sweep in sweeps
    )


def _count_states(session: Session, jobs: Subquery) -> Mapping[tuple[int, str], int]:
    query = select(jobs.c.sweep_id, Job.state, func.count()).join(Job, Job.id == jobs.c.job_id)
    counted = session.execute(query.group_by(jobs.c.sweep_id, Job.state))
    return {(sweep_id, state): number for sweep_id, state, number in counted}


def _summarize(session: Session, jobs: Subquery) -> Mapping[int, tuple[int, float | None]]:
    """Return how many configurations each sweep has, and its best accuracy."""
    totals = func.count(Job.configuration.distinct()), func.max(Result.valid_accuracy)
    query = select(jobs.c.sweep_id, *totals).join(Job, Job.id == jobs.c.job_id)
    found = session.execute(query.outerjoin(Result).group_by(jobs.c.sweep_id))
    return {sweep_id: (number, best) for sweep_id, number, best in found}


def _jobs_of(sweeps: Sequence[int]) -> Subquery:
    own = select(Job.sweep_id, Job.id.label("job_id")).where(Job.sweep_id.in_(sweeps))
    shared = select(SweepMember.sweep_id, SweepMember.job_id).where(
        SweepMember.sweep_id.in_(sweeps)
    )
    return union_all(own, shared).subquery()
