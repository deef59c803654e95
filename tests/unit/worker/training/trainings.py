"""Trainings of one run, and how they are stopped."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

from models.errors import Diverged
from models.metrics import EpochMetrics
from worker.training import engine
from worker.training.data.tensors import Data


class Stop(Exception):
    pass


def untimed(metrics: Iterable[EpochMetrics]) -> list[EpochMetrics]:
    return [replace(epoch, seconds=0) for epoch in metrics]


def stop_before(batch: int) -> Callable[[], None]:
    """Return a `before_batch` that raises at the given batch of the run, counted from 0."""
    calls = itertools.count()

    def before_batch() -> None:
        if next(calls) == batch:
            raise Stop

    return before_batch


def train_run(
    run: engine.Run, data: Data, before_batch: Callable[[], None] = lambda: None
) -> Iterator[EpochMetrics]:
    """Train one run by the engine; raise what `before_batch` raises, and divergence."""

    def check() -> Mapping[int, None]:
        before_batch()
        return {}

    for _, outcome in engine.train({0: run}, data, check):
        if isinstance(outcome, engine.Divergence):
            raise Diverged(str(outcome))
        assert outcome
        yield outcome
