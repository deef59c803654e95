"""Estimates how long a sweep will take, from what past runs took."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from sqlalchemy import ColumnElement, Double, and_, cast, func, or_, select
from sqlalchemy.orm import Session

from models.database import Database
from models.datasets import DATASETS
from models.spec import ExperimentSpec
from models.state import JobState, WorkerState
from models.tables import Epoch, Job, Result
from service import spec_sql
from service.moment import FINAL
from service.queries import list_workers
from service.report import count
from service.selector import open_condition

#: The newest so many results count.
_PAST_RUNS = 500


@dataclass(frozen=True)
class Estimate:
    """The wall time of some specs; `seconds` is None where no past run tells."""

    seconds: float | None
    past_runs: int
    workers: int

    def __str__(self) -> str:
        if self.seconds is None:
            return "No past run tells how long this takes."
        workers, runs = count(self.workers, "worker"), count(self.past_runs, "run")
        return f"About {spell_seconds(self.seconds)} on {workers}, going by {runs}."


@dataclass(frozen=True)
class _Work:
    """What is to be done of one configuration: how many runs, of which one may be half done."""

    spec: ExperimentSpec
    runs: float
    jobs: int


#: What a run of a spec took, in seconds.
_Past = tuple[ExperimentSpec, float]


def estimate(database: Database, specs: Sequence[ExperimentSpec]) -> Estimate:
    """Return how long the specs take on the workers that take jobs, or on one if none does.

    A spec takes what its own configuration took; else its work at the median speed of past runs.
    """
    with database.reading() as session:
        past = _list_past(session)
    return _estimate([_Work(spec, 1, 1) for spec in specs], past, _count_workers(database))


def estimate_rest(database: Database, which: ColumnElement[bool]) -> Estimate:
    """Return how long it takes until the selected jobs have ended, with those ahead of them.

    It goes by what runs now, too.
    """
    with database.reading() as session:
        past = [*_list_running(session), *_list_past(session)]
        works = _list_open(session, which)
    return _estimate(works, past, _count_workers(database))


def count_work(spec: ExperimentSpec) -> int:
    """Return the weights touched by all images of all epochs: proportional to the FLOPs."""
    dataset = DATASETS[spec.dataset]
    widths = (dataset.features, *spec.hidden, dataset.classes)
    return spec.epochs * spec.images * sum(a * b for a, b in pairwise(widths))


def spell_seconds(seconds: float) -> str:
    """Write a time span shortly: "40 s", "12 min", "3.5 h", "2 days"."""
    for unit, size, limit in (("s", 1, 90), ("min", 60, 90), ("h", 3600, 48)):
        if seconds / size < limit:
            return f"{seconds / size:.{1 if unit == 'h' else 0}f} {unit}"
    return f"{seconds / 86400:.0f} days"


def _estimate(works: Sequence[_Work], past: Sequence[_Past], workers: int) -> Estimate:
    if not past:
        return Estimate(None, 0, workers)
    own: dict[str, list[float]] = {}
    for spec, seconds in past:
        own.setdefault(spec.configuration, []).append(seconds)
    pace = statistics.median(seconds / count_work(spec) for spec, seconds in past)
    parts = [(work, work.runs * _guess(work.spec, own, pace)) for work in works]
    jobs = sum(work.jobs for work in works)
    shared = sum(seconds for _, seconds in parts) / min(workers, max(1, jobs))
    longest = max((seconds / work.jobs for work, seconds in parts), default=0.0)
    return Estimate(max(shared, longest), len(past), workers)


def _guess(spec: ExperimentSpec, own: dict[str, list[float]], pace: float) -> float:
    known = own.get(spec.configuration)
    return statistics.median(known) if known else pace * count_work(spec)


def _count_workers(database: Database) -> int:
    workers = list_workers(database)
    return sum(each.is_alive and each.state != WorkerState.DRAINING for each in workers) or 1


def _list_past(session: Session) -> list[_Past]:
    query = select(Job.spec, Result.seconds).join(Result).order_by(Job.id.desc()).limit(_PAST_RUNS)
    return _read(session.execute(query))


def _list_running(session: Session) -> list[_Past]:
    """List what the jobs that run will take in all, at the pace of their last epoch."""
    seconds = Epoch.seconds * cast(spec_sql.column("epochs"), Double)
    query = select(Job.spec, seconds).join(Epoch, FINAL.condition())
    return _read(session.execute(query.where(Job.state == JobState.RUNNING)))


def _read(rows: Iterable[tuple[dict[str, object], float]]) -> list[_Past]:
    return [(ExperimentSpec.model_validate(spec), seconds) for spec, seconds in rows]


def _list_open(session: Session, which: ColumnElement[bool]) -> list[_Work]:
    """List what is queued or runs, a configuration each: a sweep has far fewer than jobs."""
    share = 1 - cast(Job.epochs_done, Double) / cast(spec_sql.column("epochs"), Double)
    totals = func.max(Job.id), func.sum(share), func.count()
    wanted = or_(which, _is_ahead(session, which)) & open_condition()
    grouped = select(*totals).where(wanted).group_by(Job.configuration).subquery()
    some_id, runs, jobs = grouped.c
    query = select(Job.spec, runs, jobs).join(grouped, some_id == Job.id)
    return [
        _Work(ExperimentSpec.model_validate(spec), runs, jobs)
        for spec, runs, jobs in session.execute(query)
    ]


def _is_ahead(session: Session, which: ColumnElement[bool]) -> ColumnElement[bool]:
    """Return the condition for the jobs that workers take before the last one selected."""
    last = select(func.coalesce(func.max(Job.id), 0), func.coalesce(func.max(Job.priority), 0))
    job_id, priority = session.execute(last.where(which, open_condition())).one()
    return and_(Job.id < job_id, Job.priority <= priority, Job.held.is_(False))
