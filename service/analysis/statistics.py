"""Estimates means and differences over seeds, and tests the differences."""

import math
import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

#: A difference is significant when its corrected p is below this.
ALPHA = 0.05
#: The power that more seeds are to give a test of the difference observed.
POWER = 0.8
#: With up to this many seeds, more are asked for if they are likely to show a difference.
FEW_SEEDS = 3
#: More seeds than this are never asked for.
MAX_MORE_SEEDS = 20

#: A metric of one configuration, by seed.
Values = Mapping[int, float]


@dataclass(frozen=True)
class DifferenceTest:
    """A mean minus the baseline's, its 95 % interval, and its p, raw and corrected."""

    difference: float
    low: float
    high: float
    #: "paired by seed" or "Welch".
    method: str
    p: float
    p_holm: float
    #: Seeds on the smaller side.
    n: int
    #: How many more seeds a side to ask for; None asks for none.
    more_seeds: int | None

    @property
    def is_significant(self) -> bool:
        """Whether the corrected p is below ALPHA."""
        return self.p_holm < ALPHA


def assess_differences(
    baseline: Values, others: Sequence[Values], step: float
) -> list[DifferenceTest | None]:
    """Test each mean against the baseline's; None where a side has fewer than two seeds.

    All judgement of differences is here: Student's t, paired by seed where two seeds or more are
    shared, and Welch's (1947) where not; p is two-sided, and corrected by Holm (1979).
    """
    estimates = [_estimate_difference(baseline, other, step) for other in others]
    tested = [estimate.p for estimate in estimates if estimate]
    corrected = iter(correct_by_holm(tested))
    return [
        _describe_test(estimate, next(corrected), len(tested)) if estimate else None
        for estimate in estimates
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
    """A mean or a difference of means, with its standard error and degrees of freedom."""

    value: float
    error: float
    freedom: float
    #: Seeds on the smaller side.
    n: int
    method: str

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval by Student's t."""
        half = float(_scipy_special().stdtrit(self.freedom, 1 - ALPHA / 2)) * self.error
        return self.value - half, self.value + half

    @property
    def p(self) -> float:
        """The two-sided p of "the value is 0"; 1 where all figures are 0."""
        if not self.error:
            return 1.0
        return 2 * float(_scipy_special().stdtr(self.freedom, -abs(self.value) / self.error))

    def is_detectable(self, more: int, alpha: float) -> bool:
        """Whether this value would be significant in most repeats with `more` seeds a side.

        The power of the t test, from the noncentral t (Cohen 1988, chapter 2).
        """
        n = self.n + more
        freedom = self.freedom * (n - 1) / (self.n - 1)
        shift = abs(self.value) / self.error * math.sqrt(n / self.n) if self.error else 0.0
        special = _scipy_special()
        missed = float(special.nctdtr(freedom, shift, special.stdtrit(freedom, 1 - alpha / 2)))
        return not missed > 1 - POWER  # a shift past scipy's range gives NaN, and is detectable


def _scipy_special() -> Any:
    """Return scipy.special, which takes 0.25 s to import; most commands compare nothing."""
    from scipy import special  # noqa: PLC0415

    return special


def estimate_mean(values: Collection[float], step: float = 0.0, method: str = "") -> Estimate:
    """Estimate a mean of two values or more (Student 1908); their spread is at least `step` / 2."""
    n = len(values)
    spread = max(statistics.stdev(values), step / 2)
    return Estimate(statistics.fmean(values), spread / math.sqrt(n), n - 1, n, method)


def find_shared_seeds(a: Values, b: Values) -> list[int]:
    """Return the seeds that both have, in order."""
    return sorted(a.keys() & b.keys())


def _estimate_difference(baseline: Values, other: Values, step: float) -> Estimate | None:
    """Estimate other minus baseline, if both have two seeds."""
    shared = find_shared_seeds(baseline, other)
    if len(shared) > 1:
        differences = [other[seed] - baseline[seed] for seed in shared]
        return estimate_mean(differences, step, "paired by seed")
    if min(len(baseline), len(other)) > 1:
        return _subtract(
            estimate_mean(other.values(), step), estimate_mean(baseline.values(), step)
        )
    return None


def _subtract(a: Estimate, b: Estimate) -> Estimate:
    """Estimate a - b of unequal variances (Welch 1947), with Satterthwaite's freedom (1946)."""
    error = math.hypot(a.error, b.error)
    share = (a.error / error) ** 2 if error else 0.5
    freedom = 1 / (share**2 / a.freedom + (1 - share) ** 2 / b.freedom)
    return Estimate(a.value - b.value, error, freedom, min(a.n, b.n), "Welch")


def _describe_test(estimate: Estimate, p_holm: float, tests: int) -> DifferenceTest:
    low, high = estimate.interval
    return DifferenceTest(
        difference=estimate.value,
        low=low,
        high=high,
        method=estimate.method,
        p=estimate.p,
        p_holm=p_holm,
        n=estimate.n,
        # Divided by the number of tests (Bonferroni): a little stricter than Holm.
        more_seeds=_count_more_seeds(estimate, ALPHA / tests),
    )


def _count_more_seeds(estimate: Estimate, alpha: float) -> int | None:
    if estimate.n > FEW_SEEDS:
        return None
    counts = range(1, MAX_MORE_SEEDS + 1)
    return next((more for more in counts if estimate.is_detectable(more, alpha)), None)
