"""Averages learning curves over seeds, and shows them as sparklines in a table."""

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from models.datasets import DATASETS
from models.errors import DqError
from models.metrics import HIGHER_IS_BETTER
from models.spec import ExperimentSpec
from models.state import JobState
from service.analysis.comparison import ALPHA, Comparison, compare, describe_common
from service.formatting import format_ids
from service.queries.rows import ComparedJob, Curve

#: Seeds for an interval by Student's t; of fewer, the band is from the least to the greatest.
LEAST_SEEDS = 3

#: What a table and an axis call each metric.
TITLES = {
    "valid_accuracy": "Validation accuracy",
    "valid_loss": "Validation loss",
    "train_accuracy": "Training accuracy of the last batch",
    "train_loss": "Training loss of the last batch",
    "seconds": "Time per epoch",
}


@dataclass(frozen=True)
class Point:
    """One epoch of a configuration, over the `n` seeds that have it.

    `low` to `high` is the mean's 95 % interval, or with fewer than LEAST_SEEDS all the figures.
    """

    epoch: int
    n: int
    mean: float
    low: float
    high: float


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
    def last(self) -> Point:
        """The last epoch that any seed has."""
        return self.points[-1]

    def find_best(self, metric: str) -> Point:
        """Return the epoch with the best mean, the earliest of equals."""
        pick = max if HIGHER_IS_BETTER[metric] else min
        return pick(self.points, key=lambda point: point.mean)


@dataclass(frozen=True)
class CurveSet:
    """The curves of some configurations, the baseline's first, and what is to be said of them."""

    metric: str
    #: The metric with what it is taken on, and what the configurations have in common.
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


def average(curves: Sequence[Curve], metric: str) -> CurveSet:
    """Average the curves of each configuration over its seeds, epoch by epoch.

    A seed counts once: its succeeded run, or else the one that got furthest. A run that has not
    all epochs is in the means as far as it got. Raises UsageError as `compare` does, and DqError
    if there is no epoch at all.
    """
    kept = [curve for curve in curves if curve.epochs or curve.state is not JobState.CANCELLED]
    # All as if they ran: the comparison is only to name the configurations, and leave none out.
    named = compare([_as_running(curve) for curve in kept], metric)
    chosen = _choose(kept)
    if not chosen:
        raise DqError("None of these jobs has an epoch yet. Type: dq status")
    found = {row.configuration: row.label for row in named.rows}
    means = [_mean_curve(chosen, name, label, metric) for name, label in found.items()]
    return CurveSet(
        metric=metric,
        title=(_title(named), describe_common(named, without={"dataset", "evaluation"})),
        axis=f"{_name_metric(named)} ({_unit(metric)})",
        curves=tuple(curve for curve in means if curve.points),
        notes=tuple(_notes(kept, chosen)),
        guessing=_guessing(named.baseline.spec, metric),
    )


def _as_running(curve: Curve) -> ComparedJob:
    return ComparedJob(curve.job_id, JobState.RUNNING, curve.spec, None, {})


def _choose(curves: Iterable[Curve]) -> dict[str, list[Curve]]:
    """Return by configuration the curve that counts of each seed."""
    counted: dict[tuple[str, int], Curve] = {}
    for curve in sorted(curves, key=_rank):
        if curve.epochs:
            counted.setdefault((curve.spec.configuration, curve.spec.seed), curve)
    chosen: dict[str, list[Curve]] = {}
    for (configuration, _), curve in counted.items():
        chosen.setdefault(configuration, []).append(curve)
    return chosen


def _rank(curve: Curve) -> tuple[bool, int, int]:
    return curve.state is not JobState.SUCCEEDED, -len(curve.epochs), curve.job_id


def _mean_curve(
    chosen: Mapping[str, Sequence[Curve]], configuration: str, label: str, metric: str
) -> MeanCurve:
    curves = chosen.get(configuration, ())
    figures: dict[int, list[float]] = {}
    for epoch in (epoch for curve in curves for epoch in curve.epochs):
        figures.setdefault(epoch.epoch, []).append(float(getattr(epoch, metric)))
    points = tuple(_point(epoch, figures[epoch], metric) for epoch in sorted(figures))
    return MeanCurve(configuration, label, points, tuple(curves))


def _point(epoch: int, figures: Sequence[float], metric: str) -> Point:
    n, mean = len(figures), statistics.fmean(figures)
    low, high = min(figures), max(figures)
    if n >= LEAST_SEEDS:
        half = _quantile(n - 1) * statistics.stdev(figures) / math.sqrt(n)
        # No figure is below 0, and no accuracy above 1; nor then is a mean.
        most = 1.0 if metric.endswith("accuracy") else math.inf
        low, high = max(0.0, mean - half), min(most, mean + half)
    return Point(epoch, n, mean, low, high)


def _quantile(freedom: int) -> float:
    """Return Student's t that a figure exceeds with a chance of 2.5 %."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 1 - ALPHA / 2))


def _guessing(spec: ExperimentSpec, metric: str) -> float | None:
    """Return the cross-entropy, in nats, of giving every class the same probability."""
    return math.log(DATASETS[spec.dataset].classes) if metric.endswith("loss") else None


def _unit(metric: str) -> str:
    return "s" if metric == "seconds" else "nats" if metric.endswith("loss") else "fraction"


def _name_metric(comparison: Comparison) -> str:
    """Name the metric; what is stored as valid_* may have been taken on the test images."""
    is_test = comparison.baseline.spec.evaluation == "test"
    title = TITLES[comparison.metric]
    return title.replace("Validation", "Test") if is_test else title


def _title(comparison: Comparison) -> str:
    images = f" on {comparison.images:,} images" if comparison.images else ""
    return f"{_name_metric(comparison)}{images} of {comparison.baseline.spec.dataset}, by epoch"


def _notes(curves: Sequence[Curve], chosen: Mapping[str, Sequence[Curve]]) -> Iterable[str]:
    used = [curve for each in chosen.values() for curve in each]
    used_ids = {curve.job_id for curve in used}
    partly = [curve for curve in used if curve.state is not JobState.SUCCEEDED]
    if partly:
        yield (
            f"Shown as far as they got: {_list_states(partly)}. "
            "The means of later epochs are of fewer seeds."
        )
    if none := [curve for curve in curves if not curve.epochs]:
        yield f"Without an epoch so far: {_list_states(none)}."
    if repeats := [curve for curve in curves if curve.epochs and curve.job_id not in used_ids]:
        yield f"Each seed counts once, so repeats are not included: {_jobs(repeats)}."


def _list_states(curves: Sequence[Curve]) -> str:
    by_state = {state: [curve for curve in curves if curve.state is state] for state in JobState}
    return ", ".join(
        f"{len(found):,} {state} ({_jobs(found)})" for state, found in by_state.items() if found
    )


def _jobs(curves: Sequence[Curve]) -> str:
    return f"{'job' if len(curves) == 1 else 'jobs'} {format_ids([c.job_id for c in curves])}"
