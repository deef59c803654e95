"""The plan of a tuning: how many candidates there are, and on which seeds they run."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product, zip_longest
from typing import Literal, get_args

from models.errors import UsageError
from models.spec import ExperimentSpec
from service.analysis.halving import RUNGS, count_runs, list_sizes
from service.search.space import Space
from service.specs.grid import repeat

Sampler = Literal["grid", "tpe", "qmc"]
SAMPLERS: tuple[Sampler, ...] = get_args(Sampler)
#: How many learning rates are tried without dropout where candidates are sampled.
_RATES_WITHOUT = 5
#: The fewest candidates with dropout.
_FEWEST = 2
#: The most seeds of a confirmation; each plan has one of a million blocks of that many seeds.
MOST_CONFIRMED = 1000
_BLOCKS = 10**6


@dataclass(frozen=True)
class Rung:
    """How many candidates are in a rung, on how many seeds, and how many runs that adds."""

    candidates: int
    seeds: int
    runs: int


@dataclass(frozen=True)
class Plan:
    """A tuning; all that it does follows from this and from the figures of the jobs."""

    space: Space
    sampler: Sampler
    #: The most runs of the selection.
    budget: int
    #: On how many new seeds the two contenders are compared.
    confirm: int
    #: How many values of each field the grid has; of learning rates alone without dropout.
    counts: Mapping[str, int]
    #: How many candidates have dropout.
    with_dropout: int

    @property
    def values(self) -> Mapping[str, tuple[float, ...]]:
        """The values of each field, as many as `counts` says."""
        return {name: self.space.spread(name, count) for name, count in self.counts.items()}

    @property
    def grid(self) -> list[ExperimentSpec]:
        """The combinations of the values, and those without dropout."""
        names, values = self.values.keys(), self.values.values()
        combinations = [dict(zip(names, each, strict=True)) for each in product(*values)]
        return list(dict.fromkeys([*map(self.space.build, combinations), *self.without_dropout]))

    @property
    def without_dropout(self) -> list[ExperimentSpec]:
        """The candidates without dropout: one a learning rate."""
        rates = self.values["lr"]
        return [self.space.build({"keep": 1, "input_keep": 1, "lr": rate}) for rate in rates]

    @property
    def rungs(self) -> list[Rung]:
        """The rungs of the selection, the candidates with and without dropout together."""
        sides = map(list_sizes, (self.with_dropout, self.counts["lr"]))
        sizes = map(sum, zip_longest(*sides, fillvalue=0))
        steps = zip(sizes, RUNGS, (0, *RUNGS), strict=False)
        return [Rung(size, seeds, size * (seeds - before)) for size, seeds, before in steps]

    @property
    def runs(self) -> int:
        """How many runs the selection takes."""
        return sum(rung.runs for rung in self.rungs)

    @property
    def expected_specs(self) -> list[ExperimentSpec]:
        """The specs to run, with stand-ins for those that only the figures decide on."""
        known = repeat(self.grid, range(RUNGS[0])).specs if self.sampler == "grid" else ()
        first, number = self.confirmation_seeds.start, self.runs + 2 * self.confirm - len(known)
        return [*known, *repeat([self.space.base], range(first, first + number)).specs]

    @property
    def confirmation_seeds(self) -> range:
        """The seeds of the confirmation: the plan's own, and always the same."""
        ranges = {name: [each.low, each.high] for name, each in self.space.ranges.items()}
        facts = [self.space.base.configuration, ranges, self.sampler, self.budget, self.confirm]
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
        first = MOST_CONFIRMED * (1 + int(digest, 16) % _BLOCKS)
        return range(first, first + self.confirm)


def make_plan(space: Space, sampler: Sampler, budget: int, confirm: int) -> Plan:
    """Plan a tuning with as many candidates as the budget allows; raise UsageError for too few."""
    if sampler == "grid":
        counts = _count_values(space, budget)
        with_dropout = _count_grid(space, counts)
    else:
        counts = {"lr": 1 if space.lr.is_single else _RATES_WITHOUT}
        with_dropout = _count_samples(budget - count_runs(counts["lr"]))
    plan = Plan(space, sampler, budget, confirm, counts, with_dropout)
    if plan.runs > budget:
        raise UsageError(
            f"--budget {budget} is too small: the smallest selection takes {plan.runs} runs"
        )
    return plan


def _count_values(space: Space, budget: int) -> dict[str, int]:
    """Return how many values of each field the grid has, about as many of each."""
    counts = {name: 1 if values.is_single else 2 for name, values in space.ranges.items()}
    while larger := _enlarge(space, counts, budget):
        counts = larger
    return counts


def _enlarge(space: Space, counts: dict[str, int], budget: int) -> dict[str, int] | None:
    """Return the counts of a grid with one value more, if the budget allows one."""
    for name in sorted(space.tuned, key=counts.__getitem__):
        larger = {**counts, name: counts[name] + 1}
        runs = count_runs(_count_grid(space, larger)) + count_runs(larger["lr"])
        if runs <= budget or _count_grid(space, counts) < _FEWEST:
            return larger
    return None


def _count_grid(space: Space, counts: Mapping[str, int]) -> int:
    """Return how many combinations of a grid have dropout."""
    return math.prod(counts.values()) - (counts["lr"] if space.holds_no_dropout else 0)


def _count_samples(budget: int) -> int:
    """Return how many candidates the budget allows, and at least the fewest."""
    samples = _FEWEST
    while count_runs(samples + 1) <= budget:
        samples += 1
    return samples
