"""Selects by successive halving: the better half of the candidates goes on with more seeds."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Generic, TypeVar

from service.analysis.statistics import Values

#: How many seeds a candidate has run at the end of each rung; the rungs take about as many runs
#: each (Karnin et al. 2013). With 2, 4, 8 and 16, one that is better than 28 equal ones by a
#: standard deviation is lost too often in the first: in 8 % of bench/tuning.py's simulations.
RUNGS = (3, 5, 9, 16)

Candidate = TypeVar("Candidate")


@dataclass(frozen=True)
class Standing(Generic[Candidate]):
    """A candidate's figures by seed; a seed that failed has none. More is better."""

    candidate: Candidate
    values: Values
    #: With how many seeds it was run, failed ones among them.
    seeds: int

    @property
    def failed(self) -> int:
        """How many seeds have no figure."""
        return self.seeds - len(self.values)

    @property
    def mean(self) -> float | None:
        """The mean over seeds: too good in the best of many, which were chosen by it."""
        return statistics.fmean(self.values.values()) if self.values else None


#: Runs candidates with that number of seeds; returns a standing for each, in any order.
Measure = Callable[[Sequence[Candidate], int], Sequence[Standing[Candidate]]]


def select(
    sides: Sequence[Sequence[Candidate]], measure: Measure[Candidate]
) -> list[list[Standing[Candidate]]]:
    """Return, for each side, the last standings of its candidates, best first.

    All sides are measured together, and each promotes the better half of its own.
    """
    last: dict[Candidate, Standing[Candidate]] = {}
    going = [list(side) for side in sides]
    for seeds in RUNGS:
        candidates = list(chain(*going))
        if not candidates:
            break
        last |= {each.candidate: each for each in measure(candidates, seeds)}
        going = [promote([last[each] for each in side]) for side in going]
    return [rank([last[each] for each in side]) for side in sides]


def rank(standings: Sequence[Standing[Candidate]]) -> list[Standing[Candidate]]:
    """Order candidates: those that got further first, then by mean; those that failed last."""
    return sorted(standings, key=lambda each: (each.failed > 0, -each.seeds, -(each.mean or 0)))


def promote(side: Sequence[Standing[Candidate]]) -> list[Candidate]:
    """Return the better half, none of which failed; nobody where one alone is left."""
    sound = [each.candidate for each in rank(side) if not each.failed]
    better = sound[: _halve(len(side))]
    return better if len(better) > 1 else []


def list_sizes(candidates: int) -> list[int]:
    """Return how many candidates of a side are in each of its rungs."""
    sizes = [candidates]
    while len(sizes) < len(RUNGS) and (half := _halve(sizes[-1])) > 1:
        sizes.append(half)
    return sizes


def count_runs(candidates: int) -> int:
    """Return how many runs the selection among the candidates of a side takes."""
    before = (0, *RUNGS)
    sizes = list_sizes(candidates)
    return sum(size * (RUNGS[rung] - before[rung]) for rung, size in enumerate(sizes))


def _halve(number: int) -> int:
    return -(-number // 2)
