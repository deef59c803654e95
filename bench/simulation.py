"""Tables of simulated accuracies, and dq's own test of all of them at once, after each seed."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from models.spec import TRAINER_VERSION, ExperimentSpec
from models.state import JobState
from service.analysis.comparison import Comparison, compare
from service.analysis.statistics import ALPHA, Family, TTest
from service.queries.rows import ComparedJob

ACCURACY = 0.95
#: How many images the accuracies are taken on.
IMAGES = 10_000
#: The part of the variance that a seed brings to all configurations alike.
COMMON = 0.3
_METRIC = "valid_accuracy"

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


def _draw_normal(draws: Generator, shape: tuple[int, ...]) -> Floats:
    return draws.standard_normal(shape)


def draw_skewed(draws: Generator, shape: tuple[int, ...]) -> Floats:
    """Draw an exponential distribution's numbers, turned round: few are far less than the rest."""
    return 1 - draws.exponential(size=shape)


def draw_outliers(draws: Generator, shape: tuple[int, ...]) -> Floats:
    """Draw normal numbers, one in ten of which is less by 50."""
    return draws.standard_normal(shape) + 5 - 50 * (draws.random(shape) < 0.1)


@dataclass(frozen=True)
class Figures:
    """How accuracies spread over seeds; they are rounded to whole images."""

    what: str
    #: One standard deviation of a normal figure, in images.
    spread: float = 20.0
    #: The part of the runs that fail, and have no accuracy.
    failing: float = 0.0
    #: Draws numbers of mean 0.
    draw: Callable[[Generator, tuple[int, ...]], Floats] = _draw_normal

    @property
    def is_symmetrical(self) -> bool:
        """Whether figures are as often above their mean as below."""
        return self.draw is _draw_normal

    @property
    def spread_of_differences(self) -> float:
        """One standard deviation of the difference of two configurations, in images."""
        return self.spread * math.sqrt(2 * (1 - COMMON))


@dataclass(frozen=True)
class Estimates:
    """Means of the values so far, after each seed (the last axis)."""

    mean: Floats
    error: Floats
    n: NDArray[np.int64]

    def find_margin(self, test: TTest, alpha: float = ALPHA) -> Floats:
        """Return half the width of the interval at 1 - alpha; infinite where there is none."""
        critical = _list_critical_ts(test, alpha, self.n.shape[-1])[self.n]
        return np.where(np.isinf(critical), np.inf, critical * self.error)

    def exclude(self, value: float, test: TTest, alpha: float = ALPHA) -> Flags:
        """Say where the interval at 1 - alpha does not hold a value."""
        return np.abs(self.mean - value) > self.find_margin(test, alpha)


@cache
def _list_critical_ts(test: TTest, alpha: float, most: int) -> Floats:
    return np.array([test.find_critical_t(n, alpha) for n in range(most + 1)])


def draw_means(
    tables: int, configurations: int, draws: Generator, difference: float = 0.0
) -> Floats:
    """Draw the true means, in images; all but each table's first are greater by the difference."""
    # Where between two images a mean lies differs from table to table.
    firsts = ACCURACY * IMAGES + draws.random((tables, 1, 1))
    return firsts + difference * (np.arange(configurations) > 0)[:, None]


def draw_tables(figures: Figures, means: Floats, seeds: int, draws: Generator) -> Floats:
    """Draw accuracies by table, configuration and seed; NaN where a run fails."""
    tables, configurations, _ = means.shape
    shape = tables, configurations, seeds
    common = math.sqrt(COMMON) * figures.draw(draws, (tables, 1, seeds))
    spread = common + math.sqrt(1 - COMMON) * figures.draw(draws, shape)
    images = np.round(means + figures.spread * spread)
    images[draws.random(shape) < figures.failing] = np.nan
    return images / IMAGES


def estimate_differences(tables: Floats) -> Estimates:
    """Estimate each configuration's difference from the first, by table, row and look."""
    return estimate(tables[:, 1:] - tables[:, :1])


def estimate(values: Floats) -> Estimates:
    """Estimate means as `statistics.estimate_mean` does, of the values that are not NaN."""
    is_known = np.isfinite(values)
    known, n = np.where(is_known, values, 0.0), is_known.cumsum(-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = known.cumsum(-1) / n
        variance = ((known**2).cumsum(-1) - n * mean**2) / (n - 1)
        spread = np.maximum(np.sqrt(np.maximum(variance, 0)), 0.5 / IMAGES)
        return Estimates(mean, spread / np.sqrt(n), n)


def find_decided(differences: Estimates, test: TTest) -> Flags:
    """Say in which tables, after which seeds, some row is called better or worse.

    By Holm's correction one is if, and only if, the least p is below ALPHA over the number of rows.
    """
    alpha = Family(test, differences.mean.shape[1], 1 / IMAGES).alpha
    return differences.exclude(0.0, test, alpha).any(axis=1)


def agrees_with_compare(table: Floats, test: TTest) -> bool:
    """Whether `compare` finds the same intervals, and decides on some row if we do."""
    comparison = compare_table(table, test)
    differences = estimate_differences(table[None])
    mean, margin = differences.mean[0, :, -1], differences.find_margin(test)[0, :, -1]
    found = [
        (-math.inf, math.inf)
        if row.difference_low is None
        else (row.difference_low, row.difference_high)
        for row in comparison.rows[1:]
    ]
    ours = np.where(np.isinf(margin), [[-np.inf], [np.inf]], [mean - margin, mean + margin])
    is_decided = find_decided(differences, test)[0, -1]
    return bool(comparison.decided) == is_decided and np.allclose(
        np.array(found).T, ours, rtol=1e-9, atol=1e-12
    )


def compare_table(table: Floats, test: TTest) -> Comparison:
    """Compare a table's configurations as `dq results --compare` does."""
    runs = [
        _make_run(job_id, _make_spec(*position), accuracy)
        for job_id, (position, accuracy) in enumerate(np.ndenumerate(table), start=1)
    ]
    return compare(runs, _METRIC, fixed_seeds=not test.may_grow)


def _make_run(job_id: int, spec: ExperimentSpec, accuracy: float) -> ComparedJob:
    if math.isnan(accuracy):
        return ComparedJob(job_id, JobState.FAILED, spec, None, {})
    return ComparedJob(job_id, JobState.SUCCEEDED, spec, TRAINER_VERSION, {_METRIC: accuracy})


@cache
def _make_spec(configuration: int, seed: int) -> ExperimentSpec:
    """Make a spec with another rate for each configuration; the first has no dropout."""
    return ExperimentSpec(hidden=(64,), keep=(1 - 0.05 * configuration,), seed=seed)
