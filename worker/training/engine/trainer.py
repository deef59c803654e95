"""Trains runs of one shape, together or one after the other, epoch by epoch."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol, TypeVar

import torch

from models.errors import Diverged
from models.metrics import EpochMetrics
from worker.training.data.tensors import Data
from worker.training.engine import capacity
from worker.training.engine.batched_runs import BatchedRuns
from worker.training.engine.evaluation import Evaluation, Outputs, fetch
from worker.training.engine.run import Run
from worker.training.engine.single_run import SingleRun

Key = TypeVar("Key")


class Program(Protocol):
    """Trains some runs batch by batch, all at the same batch of their epochs."""

    runs: list[Run]

    def begin_epoch(self) -> None:
        """Draw the epoch's random numbers."""

    def step(self) -> Outputs:
        """Train the next batch; return the outputs of the runs' networks for it."""

    def retain(self, runs: list[Run]) -> None:
        """Continue with these of its runs only."""


def train(
    runs: Mapping[Key, Run],
    data: Data,
    before_batch: Callable[[], Mapping[Key, Exception]] = dict,
) -> Iterator[tuple[Key, EpochMetrics | Exception]]:
    """Train runs of one shape to their last epochs; yield each one's metrics epoch by epoch.

    `before_batch` may name runs that are to leave, and why: that is yielded, and the run then
    stands between two batches, fit for a snapshot. A run whose loss is NaN or infinite leaves with
    Diverged. A run that leaves changes nothing of the others. When its metrics are yielded, a run
    stands at the end of that epoch.
    """
    present = {key: run for key, run in runs.items() if not run.is_done}
    program: Program | None = None
    while present:
        group = _pick_group(present, data.device)
        if program is None or program.runs != list(group.values()):
            program = _make_program(list(group.values()), data)
        for key, outcome in _train_epoch(program, group, data, before_batch):
            if isinstance(outcome, Exception) or present[key].is_done:
                del present[key]
            yield key, outcome


def _pick_group(present: Mapping[Key, Run], device: torch.device) -> dict[Key, Run]:
    """Return the runs that are furthest into an epoch: those resumed in the middle catch up.

    Those that see the same images come side by side; on a GPU there are no more than slots.
    """
    furthest = max(run.batch for run in present.values())
    chosen = [(key, run) for key, run in present.items() if run.batch == furthest]
    chosen.sort(key=lambda item: (item[1].spec.seed, item[1].epoch))
    is_limited = device.type == "cuda"
    most = capacity.slots(chosen[0][1].spec, device) if is_limited else len(chosen)
    return dict(chosen[:most])


def _make_program(runs: list[Run], data: Data) -> Program:
    if capacity.is_batched(runs[0].spec, data.device):
        return BatchedRuns(runs, data)
    return SingleRun(runs, data)


def _train_epoch(
    program: Program,
    group: dict[Key, Run],
    data: Data,
    before_batch: Callable[[], Mapping[Key, Exception]],
) -> Iterator[tuple[Key, EpochMetrics | Exception]]:
    program.begin_epoch()
    last: Outputs | None = None
    while group and not _is_at_end(group):
        began = time.perf_counter()
        for key, reason in before_batch().items():
            yield key, reason
            group.pop(key, None)
        if group and len(group) < len(program.runs):
            program.retain(list(group.values()))
        if group:
            last = program.step()
            _count_batch(group, time.perf_counter() - began)
    if group and last is not None:
        yield from _end_epoch(group, last, data)


def _is_at_end(group: dict[Key, Run]) -> bool:
    run = next(iter(group.values()))
    return run.batch == run.spec.batches


def _count_batch(group: dict[Key, Run], seconds: float) -> None:
    for run in group.values():
        run.batch += 1
        run.seconds += seconds / len(group)


def _end_epoch(
    group: dict[Key, Run], last: Outputs, data: Data
) -> Iterator[tuple[Key, EpochMetrics | Exception]]:
    """Evaluate the runs that are left of a group, and yield their epoch's metrics."""
    began = time.perf_counter()
    figures = _evaluate(list(group.values()), last, data)
    share = (time.perf_counter() - began) / len(group)
    for (key, run), taken in zip(group.items(), figures, strict=True):
        metrics = EpochMetrics(run.epoch + 1, *taken, run.seconds + share)
        run.end_epoch()
        is_finite = all(map(math.isfinite, taken))
        yield key, metrics if is_finite else Diverged(f"diverged at epoch {metrics.epoch}")


@torch.inference_mode()
def _evaluate(
    runs: list[Run], last: Outputs, data: Data
) -> list[tuple[float, float, float, float]]:
    evaluation = Evaluation(runs, data)
    return fetch(
        [(train, evaluation.evaluate(run)) for train, run in zip(last.split(), runs, strict=True)]
    )
