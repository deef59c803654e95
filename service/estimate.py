"""Estimates how long a sweep will take, from what past runs took."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from sqlalchemy import select

from models.database import Database
from models.datasets import DATASETS
from models.spec import ExperimentSpec
from models.tables import Job, Result
from service.queries import list_workers

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
        workers = f"{self.workers} worker{'' if self.workers == 1 else 's'}"
        runs = f"{self.past_runs} run{'' if self.past_runs == 1 else 's'}"
        return f"About {spell_seconds(self.seconds)} on {workers}, going by {runs}."


def estimate(database: Database, specs: Sequence[ExperimentSpec]) -> Estimate:
    """Return how long the specs take on the workers that are alive, or on one if none is.

    A spec takes what its own configuration took; else its work at the median speed of past runs.
    """
    past = _list_past(database)
    alive = sum(worker.is_alive for worker in list_workers(database)) or 1
    if not past:
        return Estimate(None, 0, alive)
    own: dict[str, list[float]] = {}
    for spec, seconds in past:
        own.setdefault(spec.configuration, []).append(seconds)
    pace = statistics.median(seconds / count_work(spec) for spec, seconds in past)
    total = sum(_guess(spec, own, pace) for spec in specs)
    return Estimate(total / min(alive, max(1, len(specs))), len(past), alive)


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


def _guess(spec: ExperimentSpec, own: dict[str, list[float]], pace: float) -> float:
    known = own.get(spec.configuration)
    return statistics.median(known) if known else pace * count_work(spec)


def _list_past(database: Database) -> list[tuple[ExperimentSpec, float]]:
    query = select(Job.spec, Result.seconds).join(Result).order_by(Job.id.desc()).limit(_PAST_RUNS)
    with database.reading() as session:
        rows: Iterable[tuple[dict[str, object], float]] = session.execute(query)
        return [(ExperimentSpec.model_validate(spec), seconds) for spec, seconds in rows]
