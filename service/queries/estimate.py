"""Estimates how long jobs will take, from what past runs took, or else from a worker's speed."""

import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from sqlalchemy import ColumnElement, Double, Select, and_, cast, func, or_, select
from sqlalchemy.orm import Session

from models.database import Database
from models.datasets import DATASETS
from models.spec import ExperimentSpec
from models.state import JobState, WorkerState
from models.tables import Epoch, Job, Result
from service.formatting import format_duration, format_field, plural
from service.queries import spec_columns
from service.queries.epoch_choice import FINAL
from service.queries.rows import WorkerRow
from service.queries.selectors import open_condition
from service.queries.speed import Speed, find_speed, has_gpu
from service.queries.workers import list_workers

#: How many of the newest results count.
_MOST_PAST_RUNS = 500
#: From here on, the estimate advises to make all layers at most as wide as one of these.
_LONG_SECONDS = 3600.0
_NARROWER = (512, 256, 128, 64, 32)


@dataclass(frozen=True)
class Estimate:
    """The wall time of some jobs; `speed` is what it goes by if there are no past runs."""

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
class _Workload:
    """The open jobs of one configuration, and how many runs are left: 0.5 of a job half done."""

    spec: ExperimentSpec
    jobs: int
    runs: float


#: A spec, and what a run of it took, in seconds.
_TimedRun = tuple[ExperimentSpec, float]
_PredictSeconds = Callable[[ExperimentSpec], float]


def estimate(database: Database | None, specs: Sequence[ExperimentSpec]) -> Estimate:
    """Return how long the specs take on the workers that take jobs, or on one if none does.

    A spec takes what its own configuration took; else its work at the median speed of past runs,
    or at a worker's speed where there are none, as where there is no database yet.
    """
    past, workers = list[_TimedRun](), list[WorkerRow]()
    if database:
        workers = _list_active_workers(database)
        with database.reading() as session:
            past = _list_past_runs(session)
    numbers = Counter(spec.configuration for spec in specs)
    examples = {spec.configuration: spec for spec in specs}
    workloads = [_Workload(examples[name], number, number) for name, number in numbers.items()]
    return _estimate(workloads, past, workers)


def estimate_remaining(database: Database, which: ColumnElement[bool]) -> Estimate:
    """Return how long it takes until the selected jobs have ended, with those ahead of them.

    Running jobs count among the past runs, at the speed of their last epoch.
    """
    with database.reading() as session:
        past = [*_list_running(session), *_list_past_runs(session)]
        workloads = _list_open(session, which)
    return _estimate(workloads, past, _list_active_workers(database))


def count_weights(spec: ExperimentSpec) -> int:
    """Return how many weights the network has."""
    dataset = DATASETS[spec.dataset]
    widths = (dataset.features, *spec.hidden, dataset.classes)
    return sum(a * b for a, b in pairwise(widths))


def count_work(spec: ExperimentSpec) -> int:
    """Return the weights touched by all images of all epochs: proportional to the FLOPs."""
    return spec.epochs * spec.images * count_weights(spec)


def _estimate(
    workloads: Sequence[_Workload], past: Sequence[_TimedRun], active: Sequence[WorkerRow]
) -> Estimate:
    is_gpu, workers = has_gpu(active), len(active) or 1
    speed = None if past else find_speed(is_gpu=is_gpu)
    predict = _predict_by_speed(speed) if speed else _predict_by_past_runs(past)
    seconds = _share_out(workloads, predict, workers)
    is_long = seconds > _LONG_SECONDS and not is_gpu
    advice = _advise(workloads, predict, workers) if is_long else ""
    return Estimate(seconds, len(past), workers, speed, advice)


def _share_out(workloads: Sequence[_Workload], predict: _PredictSeconds, workers: int) -> float:
    """Return the seconds until the workers have done the work; no job is shared by two."""
    seconds = [each.runs * predict(each.spec) for each in workloads]
    jobs = sum(each.jobs for each in workloads)
    shared = sum(seconds) / min(workers, max(1, jobs))
    longest = (each / work.jobs for each, work in zip(seconds, workloads, strict=True))
    return max(shared, *longest, 0.0)


def _advise(workloads: Sequence[_Workload], predict: _PredictSeconds, workers: int) -> str:
    """Name the widest layers with which it does not take long."""
    for width in _NARROWER:
        narrow = [replace(each, spec=_narrow(each.spec, width)) for each in workloads]
        seconds = _share_out(narrow, predict, workers)
        if seconds < _LONG_SECONDS and narrow != workloads:
            hidden = format_field("hidden", narrow[0].spec.hidden)
            return f"Without a GPU, try: --hidden {hidden} (about {format_duration(seconds)})."
    return ""


def _narrow(spec: ExperimentSpec, width: int) -> ExperimentSpec:
    return spec.model_copy(update={"hidden": tuple(min(each, width) for each in spec.hidden)})


def _predict_by_speed(speed: Speed) -> _PredictSeconds:
    return lambda spec: speed.predict_seconds(spec, count_weights(spec))


def _predict_by_past_runs(past: Sequence[_TimedRun]) -> _PredictSeconds:
    """Predict what the configuration took, or else its work at the median speed."""
    taken: dict[str, list[float]] = {}
    for spec, seconds in past:
        taken.setdefault(spec.configuration, []).append(seconds)
    seconds_per_work = statistics.median(seconds / count_work(spec) for spec, seconds in past)

    def predict(spec: ExperimentSpec) -> float:
        known = taken.get(spec.configuration)
        return statistics.median(known) if known else seconds_per_work * count_work(spec)

    return predict


def _list_active_workers(database: Database) -> list[WorkerRow]:
    workers = list_workers(database)
    return [each for each in workers if each.is_alive and each.state != WorkerState.DRAINING]


def _list_past_runs(session: Session) -> list[_TimedRun]:
    query = select(Job.spec, Result.seconds).join(Result).order_by(Job.id.desc())
    return _fetch_timed_runs(session, query.limit(_MOST_PAST_RUNS))


def _list_running(session: Session) -> list[_TimedRun]:
    """List the running jobs with what they will take in all, at the speed of their last epoch."""
    seconds = Epoch.seconds * cast(spec_columns.column("epochs"), Double)
    query = select(Job.spec, seconds).join(Epoch, FINAL.condition())
    return _fetch_timed_runs(session, query.where(Job.state == JobState.RUNNING))


def _fetch_timed_runs(session: Session, query: Select[dict[str, object], float]) -> list[_TimedRun]:
    found = session.execute(query)
    return [(ExperimentSpec.model_validate(spec), seconds) for spec, seconds in found]


def _list_open(session: Session, which: ColumnElement[bool]) -> list[_Workload]:
    """List the open jobs by configuration: a sweep has far fewer of these than jobs."""
    left = 1 - cast(Job.epochs_done, Double) / cast(spec_columns.column("epochs"), Double)
    totals = func.max(Job.id), func.count(), func.sum(left)
    wanted = or_(which, _is_ahead(session, which)) & open_condition()
    grouped = select(*totals).where(wanted).group_by(Job.configuration).subquery()
    some_id, jobs, runs = grouped.c
    found = session.execute(select(Job.spec, jobs, runs).join(grouped, some_id == Job.id))
    return [_Workload(ExperimentSpec.model_validate(spec), *figures) for spec, *figures in found]


def _is_ahead(session: Session, which: ColumnElement[bool]) -> ColumnElement[bool]:
    """Return the condition for the jobs that workers take before the last one selected."""
    last = select(func.coalesce(func.max(Job.id), 0), func.coalesce(func.max(Job.priority), 0))
    job_id, priority = session.execute(last.where(which, open_condition())).one()
    return and_(Job.id < job_id, Job.priority <= priority, Job.held.is_(False))
