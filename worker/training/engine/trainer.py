"""Trains runs of one shape epoch by epoch."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

import torch

from models.metrics import EpochMetrics
from worker.training.data.tensors import Data
from worker.training.engine import capacity
from worker.training.engine.batched_runs import BatchedRuns
from worker.training.engine.evaluation import Evaluation, Outputs, fetch
from worker.training.engine.run import Run
from worker.training.engine.single_run import SingleRun

Key = TypeVar("Key")
#: Why the caller has a run leave.
Reason = TypeVar("Reason")


@dataclass(frozen=True)
class Divergence:
    """How a run ends whose loss is NaN or infinite."""

    epoch: int

    def __str__(self) -> str:
        return f"diverged at epoch {self.epoch}"


def train(
    runs: Mapping[Key, Run],
    data: Data,
    before_batch: Callable[[], Mapping[Key, Reason]] = dict,
) -> Iterator[tuple[Key, EpochMetrics | Divergence | Reason]]:
    """Train runs of one shape to their last epochs; yield each run's metrics epoch by epoch.

    `before_batch` may name runs that are to leave, and why: the reason is yielded, and the run is
    then between two batches, fit for a snapshot. A run whose loss is NaN or infinite leaves with a
    Divergence. A run that leaves changes nothing in the others. When its metrics are yielded, a run
    is at the end of that epoch.
    """
    present = {key: run for key, run in runs.items() if not run.is_done}
    batch: BatchedRuns | SingleRun | None = None
    while present:
        group = _pick_group(present, data.device)
        if batch is None or batch.runs != list(group.values()):
            batch = _make_batch(list(group.values()), data)
        for key, outcome in _train_epoch(batch, group, data, before_batch):
            if not isinstance(outcome, EpochMetrics) or present[key].is_done:
                del present[key]
            yield key, outcome


def _pick_group(present: Mapping[Key, Run], device: torch.device) -> dict[Key, Run]:
    """Return the runs that are furthest into an epoch: so runs resumed in the middle catch up.

    Runs that see the same images are neighbours; on a GPU there are at most as many as slots.
    """
    furthest = max(run.batch for run in present.values())
    chosen = [(key, run) for key, run in present.items() if run.batch == furthest]
    chosen.sort(key=lambda item: (item[1].spec.seed, item[1].epoch))
    most = capacity.slots(chosen[0][1].spec, device) if device.type == "cuda" else None
    return dict(chosen[:most])


def _make_batch(runs: list[Run], data: Data) -> BatchedRuns | SingleRun:
    if capacity.is_batched(runs[0].spec, data.device):
        return BatchedRuns(runs, data)
    (run,) = runs
    return SingleRun(run, data)


def _train_epoch(
    batch: BatchedRuns | SingleRun,
    group: dict[Key, Run],
    data: Data,
    before_batch: Callable[[], Mapping[Key, Reason]],
) -> Iterator[tuple[Key, EpochMetrics | Divergence | Reason]]:
    batch.begin_epoch()
    last: Outputs | None = None
    while group and not _is_at_end(group):
        began = time.perf_counter()
        for key, reason in before_batch().items():
            yield key, reason
            group.pop(key, None)
        if group and isinstance(batch, BatchedRuns) and len(group) < len(batch.runs):
            batch.retain(list(group.values()))
        if group:
            last = batch.step()
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
) -> Iterator[tuple[Key, EpochMetrics | Divergence]]:
    """Evaluate the runs that are left of a group, and yield their epoch's metrics."""
    began = time.perf_counter()
    evaluated = _evaluate(list(group.values()), last, data)
    share = (time.perf_counter() - began) / len(group)
    for (key, run), values in zip(group.items(), evaluated, strict=True):
        metrics = EpochMetrics(run.epoch + 1, *values, run.seconds + share)
        run.end_epoch()
        is_finite = all(map(math.isfinite, values))
        yield key, metrics if is_finite else Divergence(metrics.epoch)


@torch.inference_mode()
def _evaluate(
    runs: list[Run], last: Outputs, data: Data
) -> list[tuple[float, float, float, float]]:
    evaluation = Evaluation(runs, data)
    return fetch(
        [(train, evaluation.evaluate(run)) for train, run in zip(last.split(), runs, strict=True)]
    )
