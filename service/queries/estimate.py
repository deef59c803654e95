"""Estimates how long a sweep will take, from what past runs took, or else from a product rate."""

import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from sqlalchemy import ColumnElement, Double, and_, cast, func, or_, select
from sqlalchemy.orm import Session

from models.database import Database
from models.datasets import DATASETS
from models.spec import ExperimentSpec
from models.state import JobState, WorkerState
from models.tables import Epoch, Job, Result
from service.formatting import format_duration, format_field, plural
from service.queries import spec_columns
from service.queries.epoch_choice import FINAL
from service.queries.selectors import open_condition
from service.queries.speed import Speed, find_speed, has_gpu
from service.queries.workers import list_workers

#: The newest so many results count.
_PAST_RUNS = 500
#: From here on it is said what to type instead: layers of one of these widths.
_LONG_SECONDS = 3600.0
_NARROWER = (512, 256, 128, 64, 32)


@dataclass(frozen=True)
class Estimate:
    """The wall time of some specs; without past runs it goes by `speed`."""

    seconds: float
    past_runs: int
    workers: int
    speed: Speed | None = None
    #: What else to type if it takes too long, or nothing.
    advice: str = ""

    def __str__(self) -> str:
        workers = plural(self.workers, "worker")
        basis = self.speed.source if self.speed else plural(self.past_runs, "run")
        sentence = (
            f"About {format_duration(max(1.0, self.seconds))} on {workers}, going by {basis}."
        )
        return f"{sentence} {self.advice}".rstrip()


@dataclass(frozen=True)
class _Crew:
    """The workers that take jobs, or one on this host if none does."""

    workers: int
    has_gpu: bool


@dataclass(frozen=True)
class _Work:
    """What is to be done of one configuration: how many runs, of which one may be half done."""

    spec: ExperimentSpec
    runs: float
    jobs: int


#: What a run of a spec took, in seconds.
_Past = tuple[ExperimentSpec, float]
#: Gives what a run of a spec will take, in seconds.
_Guess = Callable[[ExperimentSpec], float]


def estimate(database: Database | None, specs: Sequence[ExperimentSpec]) -> Estimate:
    """Return how long the specs take on the workers that take jobs, or on one if none does.

    A spec takes what its own configuration took; else its work at the median speed of past runs,
    or at a product rate where there are none, as where there is no database yet.
    """
    past, crew = list[_Past](), _Crew(1, has_gpu([]))
    if database:
        with database.reading() as session:
            past = _list_past(session)
        crew = _find_crew(database)
    numbers = Counter(spec.configuration for spec in specs)
    some = {spec.configuration: spec for spec in specs}
    works = [_Work(some[name], number, number) for name, number in numbers.items()]
    return _estimate(works, past, crew)


def estimate_remaining(database: Database, which: ColumnElement[bool]) -> Estimate:
    """Return how long it takes until the selected jobs have ended, with those ahead of them.

    It goes by what runs now, too.
    """
    with database.reading() as session:
        past = [*_list_running(session), *_list_past(session)]
        works = _list_open(session, which)
    return _estimate(works, past, _find_crew(database))


def count_weights(spec: ExperimentSpec) -> int:
    """Return how many weights the network has."""
    dataset = DATASETS[spec.dataset]
    widths = (dataset.features, *spec.hidden, dataset.classes)
    return sum(a * b for a, b in pairwise(widths))


def count_work(spec: ExperimentSpec) -> int:
    """Return the weights touched by all images of all epochs: proportional to the FLOPs."""
    return spec.epochs * spec.images * count_weights(spec)


def _estimate(works: Sequence[_Work], past: Sequence[_Past], crew: _Crew) -> Estimate:
    speed = None if past else find_speed(is_gpu=crew.has_gpu)
    guess = _guess_by_speed(speed) if speed else _guess_by_past(past)
    seconds = _add_up(works, guess, crew.workers)
    is_long = seconds > _LONG_SECONDS and not crew.has_gpu
    advice = _advise(works, guess, crew.workers) if is_long else ""
    return Estimate(seconds, len(past), crew.workers, speed, advice)


def _add_up(works: Sequence[_Work], guess: _Guess, workers: int) -> float:
    parts = [(work, work.runs * guess(work.spec)) for work in works]
    jobs = sum(work.jobs for work in works)
    shared = sum(seconds for _, seconds in parts) / min(workers, max(1, jobs))
    longest = max((seconds / work.jobs for work, seconds in parts), default=0.0)
    return max(shared, longest)


def _advise(works: Sequence[_Work], guess: _Guess, workers: int) -> str:
    """Name the widest layers with which it does not take long."""
    for width in _NARROWER:
        narrow = [replace(work, spec=_narrow(work.spec, width)) for work in works]
        seconds = _add_up(narrow, guess, workers)
        if seconds < _LONG_SECONDS and narrow != works:
            hidden = format_field("hidden", narrow[0].spec.hidden)
            return f"Without a GPU, try: --hidden {hidden} (about {format_duration(seconds)})."
    return ""


def _narrow(spec: ExperimentSpec, width: int) -> ExperimentSpec:
    return spec.model_copy(update={"hidden": tuple(min(each, width) for each in spec.hidden)})


def _guess_by_speed(speed: Speed) -> _Guess:
    return lambda spec: speed.guess(spec, count_weights(spec))


def _guess_by_past(past: Sequence[_Past]) -> _Guess:
    """Take what the configuration took, or else its work at the median pace."""
    own: dict[str, list[float]] = {}
    for spec, seconds in past:
        own.setdefault(spec.configuration, []).append(seconds)
    pace = statistics.median(seconds / count_work(spec) for spec, seconds in past)

    def guess(spec: ExperimentSpec) -> float:
        known = own.get(spec.configuration)
        return statistics.median(known) if known else pace * count_work(spec)

    return guess


def _find_crew(database: Database) -> _Crew:
    workers = list_workers(database)
    active = [each for each in workers if each.is_alive and each.state != WorkerState.DRAINING]
    return _Crew(len(active) or 1, has_gpu(active))


def _list_past(session: Session) -> list[_Past]:
    query = select(Job.spec, Result.seconds).join(Result).order_by(Job.id.desc()).limit(_PAST_RUNS)
    return _read(session.execute(query))


def _list_running(session: Session) -> list[_Past]:
    """List what the jobs that run will take in all, at the pace of their last epoch."""
    seconds = Epoch.seconds * cast(spec_columns.column("epochs"), Double)
    query = select(Job.spec, seconds).join(Epoch, FINAL.condition())
    return _read(session.execute(query.where(Job.state == JobState.RUNNING)))


def _read(rows: Iterable[tuple[dict[str, object], float]]) -> list[_Past]:
    return [(ExperimentSpec.model_validate(spec), seconds) for spec, seconds in rows]


def _list_open(session: Session, which: ColumnElement[bool]) -> list[_Work]:
    """List what is queued or runs, a configuration each: a sweep has far fewer than jobs."""
    share = 1 - cast(Job.epochs_done, Double) / cast(spec_columns.column("epochs"), Double)
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
