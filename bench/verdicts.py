"""Judges simulated tables of known truth: how often a verdict is wrong, how soon it is right."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from scipy import special

from bench.section import Section, format_table, judge
from bench.simulation import (
    ACCURACY,
    COMMON,
    IMAGES,
    Estimates,
    Figures,
    Flags,
    Floats,
    agrees_with_compare,
    draw_means,
    draw_outliers,
    draw_skewed,
    draw_tables,
    estimate,
    estimate_differences,
    find_decided,
)
from service.analysis.statistics import ALPHA, ANY_TIME, FIXED_SEEDS, TTest
from service.formatting import join_words

#: How many configurations a table has, the baseline included.
CONFIGURATIONS = (2, 3, 5, 10)
#: The most seeds of a configuration; of one that is run until it is decided.
SEEDS, LIMIT = 100, 20
#: True differences, in standard deviations of the paired differences.
DIFFERENCES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)
#: The seeds after which a group-sequential plan looks.
PLANNED = (4, 6, 8, 12, 16, 20)
#: How many tables are in memory at a time.
_CHUNK = 500

NORMAL = Figures("normal")
FIGURES = (
    NORMAL,
    Figures("skewed (exponential)", draw=draw_skewed),
    Figures("one run in ten fails", failing=0.1),
    Figures("one run in ten is 10 points worse", draw=draw_outliers),
    *(Figures(f"images: a spread of {spread:g}", spread) for spread in (2, 1, 0.5, 0.3)),
)
_WHY = (
    "Without a target: means of lopsided figures, since few seeds seldom show the long tail, so "
    "that mean and spread are both wrong (a difference of two such figures is symmetrical); and "
    "Student's t with a look after each seed, the fault that the any-time test mends. With 2 or 3 "
    "seeds and a spread of few images, intervals cover more than they promise: no spread is taken "
    "as smaller than half an image, since equal figures would else prove a difference. At a spread "
    "of about one image that is not quite enough for Student's t, which no longer errs in 5 % but "
    "in up to 6 %."
)
_ABOUT_PLANS = (
    "How often two configurations are decided upon, and after how many seeds on the average, by "
    "their true difference in standard deviations of the paired differences, with at most "
    f"{LIMIT} seeds. The any-time test looks after each seed, and could go on. Group-sequential "
    f"plans look after {join_words([str(seeds) for seeds in PLANNED], 'and')} seeds "
    "only, by Student's t at the same level each time (Pocock) or at levels that grow as O'Brien "
    "and Fleming's do; the levels are simulated, such that 5 % of equal pairs are decided upon. "
    "Student's test looks once."
)


@dataclass(frozen=True)
class Case:
    """Figures of equal configurations, and the test and the numbers of seeds that judge them."""

    figures: Figures
    test: TTest
    looks: Sequence[int]

    @property
    def has_target(self) -> bool:
        """Whether the test promises anything for these looks."""
        return self.test.may_grow or len(self.looks) == 1

    def simulate(self, tables: int, draws: Generator) -> dict[str, float]:
        """Return by name how often, in percent, something is wrong at any of the looks."""
        chunks = [
            self._find_faults(min(_CHUNK, tables - start), draws)
            for start in range(0, tables, _CHUNK)
        ]
        return {name: 100 * np.concatenate([c[name] for c in chunks]).mean() for name in chunks[0]}

    def _find_faults(self, tables: int, draws: Generator) -> dict[str, Flags]:
        """Say which tables have a false verdict, and which intervals miss the truth."""
        means = draw_means(tables, CONFIGURATIONS[-1], draws)
        drawn = draw_tables(self.figures, means, self.looks[-1], draws)
        by_size = {n: estimate_differences(drawn[:, :n]) for n in CONFIGURATIONS}
        faults = {f"false among {n}": find_decided(by_size[n], self.test) for n in CONFIGURATIONS}
        faults["difference"] = by_size[CONFIGURATIONS[-1]].exclude(0.0, self.test)
        faults["mean"] = estimate(drawn - means / IMAGES).exclude(0.0, self.test)
        looks = np.array(self.looks) - 1
        return {name: flags[..., looks].any(-1) for name, flags in faults.items()}

    def check(self, tables: int, draws: Generator) -> Iterator[bool]:
        """Say of tables with and without differences whether `compare` judges them alike."""
        for _ in range(tables):
            difference = draws.choice([0, 1, 3]) * self.figures.spread_of_differences
            means = draw_means(1, draws.choice(CONFIGURATIONS), draws, difference)
            seeds = int(draws.integers(2, self.looks[-1] + 1))
            yield agrees_with_compare(draw_tables(self.figures, means, seeds, draws)[0], self.test)


def list_cases() -> list[Case]:
    """List the cases of the any-time test, then those of Student's."""
    return [
        *(Case(figures, ANY_TIME, range(2, SEEDS + 1)) for figures in FIGURES),
        *(Case(figures, FIXED_SEEDS, [seeds]) for figures in FIGURES for seeds in (2, 3, 5, 7, 10)),
        Case(NORMAL, FIXED_SEEDS, range(3, LIMIT + 1)),
    ]


def measure(tables: int) -> Section:
    """Simulate tables of equal configurations, then of true differences."""
    draws = np.random.default_rng(2026)
    cases = list_cases()
    about = (
        f"{tables:,} tables a row: an accuracy of {ACCURACY} on {IMAGES:,} images, a spread of "
        f"{NORMAL.spread:g} images unless said; seeds bring {COMMON:.0%} of the variance to all "
        "configurations alike. False: some row of a table of so many configurations, all equal, is "
        "better or worse at any of the looks. Covered: the 95 % interval of a difference, or a "
        "mean, holds the truth at all of the looks. Targets: at most 5 % and at least 95 %, give "
        f"or take three standard errors of the simulation, {_find_allowance(tables):.1f} points."
    )
    columns = ["test", "figures", "seeds", *(f"false among {n}" for n in CONFIGURATIONS)]
    columns += ["difference covered", "mean covered", ""]
    rows = [_row(case, case.simulate(tables, draws), _find_allowance(tables)) for case in cases]
    checks = [is_alike for case in cases for is_alike in case.check(20, draws)]
    agreement = (
        "The tests are vectorised here, with dq's own critical values. "
        "`service.analysis.comparison.compare` gave the same intervals and verdicts for "
        f"{sum(checks):,} of {len(checks):,} tables, some of every row's figures with differences "
        f"of 0, 1 and 3 spreads: {judge(all(checks), f'{checks.count(False)} tables')}."
    )
    return Section(
        "Verdicts", about, columns, rows, [agreement, _WHY, *_compare_plans(tables, draws)]
    )


def _find_allowance(tables: int) -> float:
    """Return three standard errors, in points, of a share of 5 %: there are many shares."""
    return float(300 * np.sqrt(ALPHA * (1 - ALPHA) / tables))


def _row(case: Case, faults: Mapping[str, float], allowance: float) -> list[str]:
    first, last = case.looks[0], case.looks[-1]
    shares = [f"{faults[f'false among {n}']:.1f} %" for n in CONFIGURATIONS]
    shares += [f"{100 - faults[name]:.1f} %" for name in ("difference", "mean")]
    promised = faults if case.figures.is_symmetrical else {**faults, "mean": 0.0}
    excess = max(promised.values()) - 100 * ALPHA
    verdict = judge(excess <= allowance if case.has_target else None, f"{excess:.1f} points")
    seeds = str(first) if first == last else f"each of {first}..{last}"
    return [case.test.name, case.figures.what, seeds, *shares, verdict]


def _compare_plans(tables: int, draws: Generator) -> list[str]:
    """Say how many seeds each plan needs, and how often it then decides."""
    null = _draw_differences(0.0, tables, draws)
    limits = {weight: np.quantile(_score(null, weight).max(-1), 1 - ALPHA) for weight in (0.0, 0.5)}
    rows = []
    for difference in DIFFERENCES:
        found = _draw_differences(difference, tables, draws)
        any_time = _describe(found.exclude(0.0, ANY_TIME), range(1, LIMIT + 1))
        plans = [_describe(_score(found, each) > limits[each], PLANNED) for each in limits]
        fixed = found.exclude(0.0, FIXED_SEEDS)
        once = [f"{100 * fixed[:, seeds - 1].mean():.1f} %" for seeds in (5, 10)]
        rows.append([f"{difference:g}", any_time, *plans, *once])
    columns = ["true difference", "any-time, each seed", "Pocock-like", "O'Brien-Fleming-like"]
    columns += ["Student's, 5 seeds", "Student's, 10 seeds"]
    return [_ABOUT_PLANS, format_table(columns, rows)]


def _draw_differences(difference: float, tables: int, draws: Generator) -> Estimates:
    """Draw differences of two configurations, by table and look; the truth is in spreads."""
    means = draw_means(tables, 2, draws, difference * NORMAL.spread_of_differences)
    found = estimate_differences(draw_tables(NORMAL, means, LIMIT, draws))
    return Estimates(found.mean[:, 0], found.error[:, 0], found.n[:, 0])


def _score(differences: Estimates, weight: float) -> Floats:
    """Return by table and planned look Student's t as a normal score, weighted by the seeds."""
    looks = np.array(PLANNED) - 1
    t = np.abs(differences.mean / differences.error)[:, looks]
    n = differences.n[:, looks]
    scores: Floats = -special.ndtri(special.stdtr(n - 1, -t)) * (n / LIMIT) ** weight
    return scores


def _describe(is_decided: Flags, looks: Sequence[int]) -> str:
    """Say how many tables are decided at any of the looks, and after how many seeds."""
    found = is_decided.any(-1)
    seeds = np.where(found, np.array(looks)[is_decided.argmax(-1)], LIMIT)
    return f"{100 * found.mean():.1f} %, {seeds.mean():.1f} seeds"
