"""Averages learning curves over seeds."""

import math
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from models.datasets import DATASETS
from models.errors import DqError
from models.metrics import HIGHER_IS_BETTER
from models.spec import ExperimentSpec
from models.state import JobState
from service.analysis.comparison import Comparison, compare, describe_common, find_step
from service.analysis.prominence import choose_prominent
from service.analysis.statistics import ANY_TIME, FIXED_SEEDS, estimate_interval
from service.formatting import format_jobs, title_metric, unit_of
from service.queries.rows import ComparedJob, Curve


class NoEpochs(DqError):
    """No job has an epoch to draw yet."""


@dataclass(frozen=True)
class Point:
    """One epoch of a configuration, over the `n` seeds that have it.

    `low` to `high` is the mean's 95 % interval, as in a comparison; None with too few seeds.
    """

    epoch: int
    n: int
    mean: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class MeanCurve:
    """The learning curve of one configuration; it has one point at least."""

    configuration: str
    #: What sets it apart, in the comparison's words.
    label: str
    points: tuple[Point, ...]
    #: The curves behind the means, one a seed.
    runs: tuple[Curve, ...] = ()

    @property
    def n(self) -> int:
        """How many seeds have succeeded, as in a comparison; the means are also of the others."""
        return sum(run.state is JobState.SUCCEEDED for run in self.runs)

    @property
    def seeds(self) -> str:
        """The seeds in words: "2, 1 running, 1 failed"."""
        states = Counter(run.state for run in self.runs)
        others = [state for state in JobState if state is not JobState.SUCCEEDED and states[state]]
        return ", ".join([str(self.n), *(f"{states[state]} {state}" for state in others)])

    @property
    def has_interval(self) -> bool:
        """Whether any epoch has enough seeds for an interval."""
        return any(point.low is not None for point in self.points)

    @property
    def last(self) -> Point:
        """The last epoch that any seed has."""
        return self.points[-1]

    def find_best(self, metric: str) -> Point:
        """Return the epoch with the best mean, the earliest of equals."""
        pick = max if HIGHER_IS_BETTER[metric] else min
        return pick(self.points, key=lambda point: point.mean)


@dataclass(frozen=True)
class CurveSet:
    """The curves of some configurations, the baseline's first, and notes on them."""

    metric: str
    #: The baseline's configuration.
    baseline: str
    #: The metric and what it is measured on; what the configurations have in common.
    title: tuple[str, str]
    #: The metric's name with its unit, for an axis.
    axis: str
    curves: tuple[MeanCurve, ...]
    notes: tuple[str, ...]
    #: The mean loss of guessing; None for other metrics.
    guessing: float | None

    @property
    def epochs(self) -> int:
        """The number of the last epoch of any curve."""
        return max(curve.last.epoch for curve in self.curves)

    @property
    def prominent(self) -> list[MeanCurve]:
        """The curves that stand out: all, or of many the baseline's and those that end best."""
        sign = 1 if HIGHER_IS_BETTER[self.metric] else -1
        return choose_prominent(
            self.curves,
            lambda curve: sign * curve.last.mean,
            lambda curve: curve.configuration == self.baseline,
        )

    @property
    def scale(self) -> tuple[float, float]:
        """The range to draw: of all means, but for losses worse than guessing.

        One diverging configuration would press all others into a line.
        """
        means = [point.mean for curve in self.curves for point in curve.points]
        low, high = min(means), max(means)
        if self.guessing and low < self.guessing < high:
            return low, self.guessing
        return low, high

    @property
    def is_cut(self) -> bool:
        """Whether some means are over the scale."""
        top = self.scale[1]
        return any(point.mean > top for curve in self.curves for point in curve.points)


def average(
    curves: Sequence[Curve],
    metric: str,
    baseline: str | None = None,
    *,
    mix: bool = False,
    fixed_seeds: bool = False,
) -> CurveSet:
    """Average the curves of each configuration over its seeds, epoch by epoch.

    A seed counts once: its succeeded run, or else the one that got furthest. A run that has not
    all epochs is in the means as far as it got. The intervals are those of a comparison with these
    arguments. Raises UsageError as `compare` does, and NoEpochs if there is no epoch at all.
    """
    considered = [each for each in curves if each.epochs or each.state is not JobState.CANCELLED]
    # All as if they ran: the comparison only names the configurations, and must leave none out.
    running = [_as_running(curve) for curve in considered]
    comparison = compare(running, metric, baseline, mix=mix)
    chosen = _choose(considered)
    if not chosen:
        raise NoEpochs("None of these jobs has an epoch yet. Type: dq status")
    step = find_step([row.spec for row in comparison.rows], _list_finals(chosen, metric), metric)
    test = FIXED_SEEDS if fixed_seeds else ANY_TIME
    find_interval = partial(estimate_interval, step=step, test=test)
    spec = comparison.baseline.spec
    name = "Time per epoch" if metric == "seconds" else title_metric(metric, spec.evaluation)
    return CurveSet(
        metric=metric,
        baseline=comparison.baseline.configuration,
        title=(_title(name, comparison), describe_common(comparison, {"dataset", "evaluation"})),
        axis=f"{name} ({unit_of(metric)})",
        curves=tuple(
            MeanCurve(
                row.configuration,
                row.label,
                _average(chosen[row.configuration], metric, find_interval),
                tuple(chosen[row.configuration]),
            )
            for row in comparison.rows
            if row.configuration in chosen
        ),
        notes=tuple(_list_notes(considered, chosen)),
        guessing=_guessing_loss(spec) if metric.endswith("loss") else None,
    )


def _as_running(curve: Curve) -> ComparedJob:
    return ComparedJob(curve.job_id, JobState.RUNNING, curve.spec, None, {})


def _choose(curves: Iterable[Curve]) -> dict[str, list[Curve]]:
    """Return by configuration the curve that counts of each seed."""
    chosen: dict[str, dict[int, Curve]] = {}
    for curve in sorted(curves, key=_rank):
        if curve.epochs:
            chosen.setdefault(curve.spec.configuration, {}).setdefault(curve.spec.seed, curve)
    return {configuration: list(by_seed.values()) for configuration, by_seed in chosen.items()}


def _rank(curve: Curve) -> tuple[bool, int, int]:
    return curve.state is not JobState.SUCCEEDED, -len(curve.epochs), curve.job_id


def _list_finals(chosen: Mapping[str, Sequence[Curve]], metric: str) -> list[float]:
    """List the figures that a comparison of these jobs has."""
    runs = [run for each in chosen.values() for run in each if run.state is JobState.SUCCEEDED]
    return [float(getattr(run.epochs[-1], metric)) for run in runs]


def _average(
    curves: Sequence[Curve],
    metric: str,
    find_interval: Callable[[list[float]], tuple[float, float] | None],
) -> tuple[Point, ...]:
    values: dict[int, list[float]] = {}
    for epoch in (epoch for curve in curves for epoch in curve.epochs):
        values.setdefault(epoch.epoch, []).append(float(getattr(epoch, metric)))
    return tuple(
        Point(
            epoch,
            len(values[epoch]),
            statistics.fmean(values[epoch]),
            *(find_interval(values[epoch]) or (None, None)),
        )
        for epoch in sorted(values)
    )


def _guessing_loss(spec: ExperimentSpec) -> float:
    """Return the cross-entropy, in nats, of giving every class the same probability."""
    return math.log(DATASETS[spec.dataset].classes)


def _title(name: str, comparison: Comparison) -> str:
    images = f" on {comparison.images:,} images" if comparison.images else ""
    is_mixed = "dataset" in comparison.varying
    dataset = "" if is_mixed else f" of {comparison.baseline.spec.dataset}"
    return f"{name}{images}{dataset}, by epoch"


def _list_notes(curves: Sequence[Curve], chosen: Mapping[str, Sequence[Curve]]) -> Iterable[str]:
    used = [curve for each in chosen.values() for curve in each]
    used_ids = {curve.job_id for curve in used}
    if partly := [curve for curve in used if curve.state is not JobState.SUCCEEDED]:
        yield (
            f"Shown as far as they got: {_list_states(partly)}. "
            "The means of later epochs are of fewer seeds."
        )
    if none := [curve for curve in curves if not curve.epochs]:
        yield f"Without an epoch so far: {_list_states(none)}."
    if repeats := [c.job_id for c in curves if c.epochs and c.job_id not in used_ids]:
        yield f"Each seed counts once, so repeats are not included: {format_jobs(repeats)}."


def _list_states(curves: Sequence[Curve]) -> str:
    by_state = {state: [c.job_id for c in curves if c.state is state] for state in JobState}
    return ", ".join(
        f"{len(ids):,} {state} ({format_jobs(ids)})" for state, ids in by_state.items() if ids
    )
