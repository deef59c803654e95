"""Estimates means and differences over seeds, and tests the differences."""

import math
import statistics
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from service.analysis import anytime, student

#: A difference is significant when its corrected p is below this.
ALPHA = 0.05
#: More seeds than this are never asked for.
MAX_MORE_SEEDS = 20

#: A metric of one configuration, by seed.
Values = Mapping[int, float]


@dataclass(frozen=True)
class TTest:
    """A two-sided test of "the mean is 0", and the interval that goes with it."""

    name: str
    #: From t and the number of values to p.
    find_p: Callable[[float, int], float]
    #: From the number of values and alpha to the least t that is significant; may be infinite.
    find_critical_t: Callable[[int, float], float]
    #: Whether it still holds when seeds are added after a look at the result.
    may_grow: bool


ANY_TIME = TTest("any-time", anytime.find_p, anytime.find_critical_t, may_grow=True)
FIXED_SEEDS = TTest("fixed seeds", student.find_p, student.find_critical_t, may_grow=False)


@dataclass(frozen=True)
class Family:
    """The tests of one table: how each is made, and how many there are."""

    test: TTest
    size: int
    #: The smallest step that the values can make.
    step: float
    #: Differences within this of 0 are too small to matter; None where every one matters.
    smallest: float | None = None

    @property
    def alpha(self) -> float:
        """The part of ALPHA that each test may use (Bonferroni): a little stricter than Holm."""
        return ALPHA / max(1, self.size)


@dataclass(frozen=True)
class DifferenceTest:
    """A mean minus the baseline's over their shared seeds, and what it shows.

    With one shared seed there is only the difference, with few there is no interval.
    """

    #: Shared seeds.
    n: int
    difference: float | None = None
    interval: tuple[float, float] | None = None
    p: float | None = None
    #: Corrected for the number of tests.
    p_holm: float | None = None
    #: Whether the difference is known to be within the family's `smallest`.
    is_small: bool = False
    #: How many more shared seeds to ask for; None asks for none.
    more_seeds: int | None = None

    @property
    def is_significant(self) -> bool:
        """Whether the corrected p is below ALPHA."""
        return self.p_holm is not None and self.p_holm < ALPHA


def assess_differences(
    pairs: Sequence[tuple[Values, Values]], family: Family
) -> list[DifferenceTest]:
    """Test each mean against its baseline's, the second of a pair, over the seeds that both have.

    All judgement of differences is here. p is corrected by Holm (1979) for all pairs, those
    without a p included, since their seeds may still come.
    """
    estimates = [_estimate_difference(base, other, family.step) for other, base in pairs]
    ps = [each.find_p(family.test) if each else None for each in estimates]
    corrected = correct_by_holm([1.0 if p is None else p for p in ps])
    shared = [find_shared_seeds(base, other) for other, base in pairs]
    return [
        DifferenceTest(
            n=len(seeds),
            difference=statistics.fmean(other[s] - base[s] for s in seeds) if seeds else None,
            interval=estimate.find_interval(family.test) if estimate else None,
            p=p,
            p_holm=None if p is None else p_holm,
            is_small=bool(estimate and estimate.is_within(family)),
            more_seeds=_count_more_seeds(len(seeds), estimate.t if estimate else 0.0, family),
        )
        for (other, base), seeds, estimate, p, p_holm in zip(
            pairs, shared, estimates, ps, corrected, strict=True
        )
    ]


def correct_by_holm(ps: Sequence[float]) -> list[float]:
    """Correct p values for their number: Holm's step-down method (1979)."""
    corrected = [0.0] * len(ps)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        largest = max(largest, min(1.0, (len(ps) - rank) * ps[index]))
        corrected[index] = largest
    return corrected


@dataclass(frozen=True)
class Estimate:
    """A mean of n values, 2 or more, and its standard error."""

    value: float
    error: float
    n: int

    @property
    def t(self) -> float:
        """The size of the mean in standard errors; 0 where all values are 0."""
        return abs(self.value) / self.error if self.error else 0.0

    def find_p(self, test: TTest) -> float:
        """Return the p of "the mean is 0"."""
        return test.find_p(self.t, self.n)

    def find_interval(self, test: TTest, alpha: float = ALPHA) -> tuple[float, float] | None:
        """Return the interval at 1 - alpha; None where it is the whole line."""
        critical = test.find_critical_t(self.n, alpha)
        if math.isinf(critical):
            return None
        return self.value - critical * self.error, self.value + critical * self.error

    def is_within(self, family: Family) -> bool:
        """Whether the mean is known to be too small to matter."""
        interval = self.find_interval(family.test, family.alpha)
        if family.smallest is None or interval is None:
            return False
        return -family.smallest <= interval[0] and interval[1] <= family.smallest


def estimate_mean(values: Collection[float], step: float = 0.0) -> Estimate:
    """Estimate a mean of two values or more; their spread is at least `step` / 2."""
    n = len(values)
    spread = max(statistics.stdev(values), step / 2)
    return Estimate(statistics.fmean(values), spread / math.sqrt(n), n)


def estimate_interval(
    values: Collection[float], step: float = 0.0, test: TTest = ANY_TIME
) -> tuple[float, float] | None:
    """Return the 95 % interval of a mean; None where there are too few values for one."""
    if len(values) < 2:  # noqa: PLR2004 -- one value has no spread
        return None
    return estimate_mean(values, step).find_interval(test)


def find_shared_seeds(a: Values, b: Values) -> list[int]:
    """Return the seeds that both have, in order."""
    return sorted(a.keys() & b.keys())


def _estimate_difference(baseline: Values, other: Values, step: float) -> Estimate | None:
    """Estimate other minus baseline, if they share two seeds."""
    differences = [other[seed] - baseline[seed] for seed in find_shared_seeds(baseline, other)]
    return estimate_mean(differences, step) if len(differences) > 1 else None


def _count_more_seeds(n: int, t: float, family: Family) -> int | None:
    """Return after how many more seeds this difference would be significant, if it stays.

    Where that would be more than MAX_MORE_SEEDS, or no seeds may be added, return how many the
    test needs at the least; None where it has them.
    """
    critical = {
        more: family.test.find_critical_t(n + more, family.alpha)
        for more in range(MAX_MORE_SEEDS + 1)
    }
    enough = (more for more in critical if more and _grow(t, n, more) >= critical[more])
    possible = (more for more in critical if math.isfinite(critical[more]))
    likely = next(enough, None) if family.test.may_grow else None
    return likely or next(possible, None) or None


def _grow(t: float, n: int, more: int) -> float:
    """Return the t of the same difference and spread over more seeds."""
    return t * math.sqrt((n + more) / n) if n else 0.0
