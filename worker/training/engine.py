"""The fast trainer: what workers use, held by tests to the readable one in `trainer.py`."""

import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol, TypeVar

import torch

from models.errors import Diverged
from models.metrics import EpochMetrics
from models.spec import ExperimentSpec
from worker.training import draws, passes
from worker.training.data import Data
from worker.training.passes import Evaluation, Pass
from worker.training.run import Run
from worker.training.solo import Solo
from worker.training.stack import Stack, slots

Key = TypeVar("Key")

#: On a CPU, runs of fewer images a batch times units a layer are trained as a stack, also alone;
#: larger ones gain more by oneDNN and by skipping what is dropped.
_STACKED_SIZE = 2**15
#: On a GPU, fp32 products as wide as this take so long that it pays to leave out what is dropped.
_SKIPPING_WIDTH = 4096
#: Stacking several gains nothing on a CPU if their layers are wider.
_PACKED_WIDTH = 256
#: Only where each matrix of a stack begins at a whole cache line of 16 numbers do all of them come
#: out of MKL with the bits that each has alone.
_LINE = 16
#: More than so many no longer fit a CPU's caches.
_MOST_TOGETHER = 16


class Program(Protocol):
    """Trains some runs batch by batch, all at the same batch of their epochs."""

    runs: list[Run]

    def begin_epoch(self) -> None:
        """Draw what the epoch needs."""

    def step(self) -> Pass:
        """Train the next batch; return what the runs' networks made of it."""

    def keep(self, runs: list[Run]) -> None:
        """Go on with some of its runs only."""


def is_stacked(spec: ExperimentSpec, device: torch.device) -> bool:
    """Whether runs of this shape are trained as a stack, be it of one.

    It depends on the shape and the kind of device alone, so that the figures do, too.
    """
    if device.type == "cuda":
        return spec.precision != "fp32" or max(spec.hidden) < _SKIPPING_WIDTH
    return spec.batch_size * max(spec.hidden) <= _STACKED_SIZE


def is_packable(spec: ExperimentSpec, device: torch.device) -> bool:
    """Whether it pays to train several runs of this shape together, and changes no figure."""
    if device.type == "cuda":
        return slots(spec) > 1
    fits = all(width <= _PACKED_WIDTH and width % _LINE == 0 for width in spec.hidden)
    return is_stacked(spec, device) and fits


def train(
    runs: Mapping[Key, Run],
    data: Data,
    before_batch: Callable[[], Mapping[Key, Exception]] = dict,
) -> Iterator[tuple[Key, EpochMetrics | Exception]]:
    """Train runs of one shape to their last epochs; yield each one's metrics epoch by epoch.

    `before_batch` may name runs that are to leave, and why: that is yielded, and the run then
    stands between two batches, fit for a snapshot. A run whose loss is NaN or infinite leaves with
    Diverged. Whoever leaves changes nothing of the others. At metrics that are yielded the run
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


def train_alone(
    run: Run, data: Data, before_batch: Callable[[], None] = lambda: None
) -> Iterator[EpochMetrics]:
    """Train one run as `train` does; `before_batch` may raise, and so does divergence."""

    def stop() -> Mapping[None, Exception]:
        before_batch()
        return {}

    for _, outcome in train({None: run}, data, stop):
        if isinstance(outcome, Exception):
            raise outcome
        yield outcome


def _pick_group(present: Mapping[Key, Run], device: torch.device) -> dict[Key, Run]:
    """Return the runs that are furthest into an epoch: those taken up in its middle catch up.

    Those that see the same images come side by side; on a GPU there are no more than slots.
    """
    furthest = max(run.batch for run in present.values())
    chosen = [(key, run) for key, run in present.items() if run.batch == furthest]
    chosen.sort(key=lambda item: (item[1].spec.seed, item[1].epoch))
    most = slots(chosen[0][1].spec) if device.type == "cuda" else len(chosen)
    return dict(chosen[:most])


def _make_program(runs: list[Run], data: Data) -> Program:
    if is_stacked(runs[0].spec, data.device):
        return Stack(runs, data)
    return Solo(runs, data)


def _train_epoch(
    program: Program,
    group: dict[Key, Run],
    data: Data,
    before_batch: Callable[[], Mapping[Key, Exception]],
) -> Iterator[tuple[Key, EpochMetrics | Exception]]:
    program.begin_epoch()
    last: Pass | None = None
    while group and not _is_at_end(group):
        began = time.perf_counter()
        for key, reason in before_batch().items():
            yield key, reason
            group.pop(key, None)
        if group and len(group) < len(program.runs):
            program.keep(list(group.values()))
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
    group: dict[Key, Run], last: Pass, data: Data
) -> Iterator[tuple[Key, EpochMetrics | Exception]]:
    """Evaluate what is left of a group, and yield what its epoch came to."""
    began = time.perf_counter()
    figures = _evaluate(list(group.values()), last, data)
    share = (time.perf_counter() - began) / len(group)
    for (key, run), taken in zip(group.items(), figures, strict=True):
        metrics = EpochMetrics(run.epoch + 1, *taken, run.seconds + share)
        run.end_epoch()
        is_sound = all(map(math.isfinite, taken))
        yield key, metrics if is_sound else Diverged(f"diverged at epoch {metrics.epoch}")


@torch.inference_mode()
def _evaluate(runs: list[Run], last: Pass, data: Data) -> list[tuple[float, float, float, float]]:
    evaluation = Evaluation(runs, data)
    return passes.fetch(
        [(train, evaluation.evaluate(run)) for train, run in zip(last.split(), runs, strict=True)]
    )


def most_together(spec: ExperimentSpec, device: torch.device, free_bytes: float) -> int:
    """Return how many runs of this shape are best trained together in so much memory."""
    if not is_packable(spec, device):
        return 1
    most = slots(spec) if device.type == "cuda" else _MOST_TOGETHER
    return max(1, min(most, int(free_bytes // _bytes_of(spec))))


def _bytes_of(spec: ExperimentSpec) -> int:
    """Return what one run of a stack takes: parameters, activations, and an epoch's draws."""
    widths = draws.widths(spec)
    parameters = sum(fan_in * fan_out for fan_in, fan_out in itertools.pairwise(widths))
    activations = spec.batch_size * sum(widths)
    drawn = 8 * spec.images + spec.batches * sum(widths)
    # Twice for stacks that are made while their parts still stand, and for gradients.
    return 4 * (2 * parameters * (2 if spec.momentum else 1) + 3 * activations) + drawn
