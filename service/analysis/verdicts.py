"""Says what the test of a difference shows: better, worse, or what it takes to decide."""

import itertools
from collections.abc import Collection
from dataclasses import dataclass

from models.metrics import HIGHER_IS_BETTER
from models.state import JobState
from service.analysis.samples import Sample
from service.analysis.statistics import DifferenceTest, Family
from service.formatting import describe_difference, plural


@dataclass(frozen=True)
class Verdict:
    """What a difference shows, and how many more seeds it takes, up to which number."""

    text: str
    more_seeds: int | None = None
    fill_to: int | None = None


@dataclass(frozen=True)
class Contest:
    """A sample beside the baseline's, and the test of their difference."""

    sample: Sample
    base: Sample
    test: DifferenceTest
    metric: str
    family: Family

    @property
    def expected(self) -> frozenset[int]:
        """The seeds that both have, or are to get."""
        return self.sample.expected & self.base.expected

    @property
    def coming(self) -> int:
        """How many more seeds they will share when all queued and running jobs have ended."""
        return len(self.expected) - self.test.n

    def judge(self) -> Verdict:
        """Return what the figures show, or else which seeds are missing."""
        if text := self._decide() or self._find_failure():
            return Verdict(text)
        more = (self.test.more_seeds or 0) - self.coming
        if more > 0:
            return Verdict(f"too few seeds: {more} more", more, _find_fill(self.expected, more))
        if self.coming and (self.test.more_seeds or not self.family.test.may_grow):
            return Verdict(f"wait for {plural(self.coming, 'seed')}")
        return Verdict("no evidence")

    def _find_failure(self) -> str | None:
        """Say that all seeds of one of the two have failed, if they have."""
        for sample, name in ((self.sample, ""), (self.base, "baseline: ")):
            if not sample.expected and (failed := sample.missing[JobState.FAILED]):
                return f"{name}{plural(len(failed), 'seed')} failed"
        return None

    def _decide(self) -> str | None:
        """Return the verdict that the figures allow, or None."""
        if self.coming and not self.family.test.may_grow:
            return None
        if self.test.is_significant:
            is_more = (self.test.difference or 0.0) > 0
            return "better" if is_more is HIGHER_IS_BETTER[self.metric] else "worse"
        if self.test.is_small:
            return f"within {describe_difference(self.metric, self.family.smallest or 0.0)}"
        return None


def _find_fill(seeds: Collection[int], more: int) -> int:
    """Return up to which number all seeds must run so that there are `more` than these."""
    free = (seed for seed in itertools.count() if seed not in seeds)
    return next(itertools.islice(free, more - 1, None)) + 1
