"""Selects and confirms among simulated configurations of known means, as `dq tune` does."""

import os
import random
import statistics
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain

from bench.section import Section, judge, show
from bench.simulation import ACCURACY, COMMON, IMAGES
from models.spec import TRAINER_VERSION, ExperimentSpec
from models.state import JobState
from service.analysis.comparison import compare
from service.analysis.halving import Standing, count_runs, select
from service.queries.rows import ComparedJob

#: The configurations with dropout; the 30th, without, has the mean 0.
CANDIDATES = 29
CONFIRMED = 10
GRID_SEEDS = 20
#: A third of the runs of the whole grid.
MOST_RUNS = (CANDIDATES + 1) * GRID_SEEDS // 3
#: How near to the best the chosen one is to be, in standard deviations of a seed, and how often.
NEAR = 0.5
LEAST_NEAR = 95.0
PROMISED, MARGIN = 95.0, 1.5
#: One standard deviation of a seed, in images, and the mean without dropout.
_SPREAD, _CENTRE = 20, ACCURACY * IMAGES
_NONE = CANDIDATES
_METRIC = "valid_accuracy"
_CHUNK = 250


@dataclass(frozen=True)
class Truth:
    """The means of the configurations, in standard deviations of a seed."""

    what: str
    #: Drawn again for each tuning: their standard deviation.
    spread: float = 0.0
    #: How much worse the ends are than the best, of means that fall off with the distance squared.
    fall: float = 0.0
    #: By how much one is better than all others.
    lead: float = 0.0

    def draw_means(self, draws: random.Random) -> list[float]:
        """Return the means, that of the configuration without dropout last."""
        best = draws.randrange(CANDIDATES)
        width = max(best, CANDIDATES - 1 - best)
        means = [
            draws.gauss(0, self.spread)
            - self.fall * ((number - best) / width) ** 2
            + self.lead * (number == best)
            for number in range(CANDIDATES)
        ]
        return [*means, 0.0]


TRUTHS = (
    Truth("means with a spread of 1 sd", spread=1),
    Truth("means with a spread of 0.3 sd", spread=0.3),
    Truth("a hump, its ends 3 sd down", fall=3),
    Truth("a hump, its ends 1 sd down", fall=1),
    Truth("one is better by 1 sd", lead=1),
    Truth("all are equal"),
)


@dataclass(frozen=True)
class Outcome:
    """What one tuning found: losses to the best, and how much too good figures were, in sd."""

    loss: float
    grid_loss: float
    sweep_loss: float
    optimism: float
    sweep_optimism: float
    is_covered: bool


class Runs:
    """The accuracies of one simulation, in images, by configuration and seed."""

    def __init__(self, means: Sequence[float], draws: random.Random) -> None:
        self._means, self._draws = means, draws
        self._common: dict[int, float] = {}
        self._figures: dict[tuple[int, int], int] = {}

    def find(self, number: int, seed: int) -> int:
        """Return the figure of a configuration with a seed, the same each time."""
        if (number, seed) not in self._figures:
            common = self._common.setdefault(seed, self._draws.gauss())
            part = COMMON**0.5 * common + (1 - COMMON) ** 0.5 * self._draws.gauss()
            value = _CENTRE + _SPREAD * (self._means[number] + part)
            self._figures[number, seed] = round(value)
        return self._figures[number, seed]

    def measure(self, numbers: Sequence[int], seeds: int) -> list[Standing[int]]:
        """Return the standings of configurations after the first `seeds` seeds."""
        return [
            Standing(number, {seed: self.find(number, seed) for seed in range(seeds)}, seeds)
            for number in numbers
        ]


def measure(tunings: int) -> Section:
    """Simulate tunings of each truth."""
    runs = count_runs(CANDIDATES) + count_runs(1) + 2 * CONFIRMED
    assert runs <= MOST_RUNS
    about = (
        f"{tunings:,} tunings a row by `service.analysis.halving.select` among {CANDIDATES} "
        "configurations with dropout and one without; the best of both are then compared on "
        f"{CONFIRMED} new seeds by `service.analysis.comparison.compare`: {runs} runs, a third of "
        f"those of the whole grid with {GRID_SEEDS} seeds. The sd is that of a seed, "
        f"{_SPREAD} images of {IMAGES:,}; a seed brings {COMMON:.0%} of the variance to all "
        "configurations alike, and accuracies are whole images. Targets: the chosen one is less "
        f"than {NEAR} sd below the best in at least {LEAST_NEAR:g} %, and the confirmed 95 % "
        f"interval of its difference from no dropout covers it in {PROMISED:g} % +- {MARGIN}."
    )
    columns = ["truth", "near the best", "by the whole grid", "by one seed each"]
    columns += ["its mean is too good by", "of one seed each", "confirmed covers", ""]
    with ProcessPoolExecutor(os.cpu_count()) as processes:
        rows = show(_row(truth, _simulate(processes, truth, tunings)) for truth in TRUTHS)
    return Section("Tuning", about, columns, rows, [_WHY])


_WHY = (
    "A mean that was chosen for being the best is too good: it is not what `dq tune` "
    "reports. The one that is chosen need not be the best: among near-ties nothing finds that."
)


def _simulate(processes: ProcessPoolExecutor, truth: Truth, tunings: int) -> list[Outcome]:
    sizes = [min(_CHUNK, tunings - start) for start in range(0, tunings, _CHUNK)]
    return [*chain(*processes.map(partial(simulate, truth), range(len(sizes)), sizes))]


def simulate(truth: Truth, number: int, tunings: int) -> list[Outcome]:
    """Simulate some tunings of a truth; `number` makes their random numbers their own."""
    draws = random.Random(f"{truth.what} {number}")
    return [tune(truth.draw_means(draws), draws) for _ in range(tunings)]


def tune(means: Sequence[float], draws: random.Random) -> Outcome:
    """Select among configurations of these means, and compare the best with no dropout."""
    runs = Runs(means, draws)
    ((chosen, *_), _) = select([range(CANDIDATES), [_NONE]], runs.measure)
    grid, sweep = (
        max(runs.measure(range(CANDIDATES), seeds), key=lambda each: each.mean or 0)
        for seeds in (GRID_SEEDS, 1)
    )
    best = max(means[:CANDIDATES])
    return Outcome(
        loss=best - means[chosen.candidate],
        grid_loss=best - means[grid.candidate],
        sweep_loss=best - means[sweep.candidate],
        optimism=_find_optimism(chosen, means),
        sweep_optimism=_find_optimism(sweep, means),
        is_covered=_is_covered(runs, chosen.candidate, means),
    )


def _find_optimism(standing: Standing[int], means: Sequence[float]) -> float:
    """Return by how many standard deviations a mean is too good."""
    return ((standing.mean or 0) - _CENTRE) / _SPREAD - means[standing.candidate]


def _is_covered(runs: Runs, chosen: int, means: Sequence[float]) -> bool:
    """Compare the chosen one with the one without dropout on new seeds; look at the interval."""
    jobs = [
        _job(runs, number, seed)
        for number in (_NONE, chosen)
        for seed in range(1000, 1000 + CONFIRMED)
    ]
    row = compare(jobs, _METRIC, fixed_seeds=True).rows[1]
    truth = (means[chosen] - means[_NONE]) * _SPREAD / IMAGES
    return (row.difference_low or 0) <= truth <= (row.difference_high or 0)


def _job(runs: Runs, number: int, seed: int) -> ComparedJob:
    keep = 1.0 if number == _NONE else 0.5
    spec = ExperimentSpec(hidden=(64,), keep=(keep,), seed=seed)
    accuracy = runs.find(number, seed) / IMAGES
    return ComparedJob(
        2 * seed + (number == _NONE), JobState.SUCCEEDED, spec, TRAINER_VERSION, {_METRIC: accuracy}
    )


def _row(truth: Truth, outcomes: Sequence[Outcome]) -> list[str]:
    near, grid_near, sweep_near = (
        100 * statistics.fmean(getattr(each, loss) < NEAR for each in outcomes)
        for loss in ("loss", "grid_loss", "sweep_loss")
    )
    optimism, sweep_optimism = (
        statistics.fmean(getattr(each, name) for each in outcomes)
        for name in ("optimism", "sweep_optimism")
    )
    covered = 100 * statistics.fmean(each.is_covered for each in outcomes)
    misses = [
        *([f"{LEAST_NEAR - near:.1f} points"] if near < LEAST_NEAR else []),
        *([f"{covered - PROMISED:+.1f} points"] if abs(covered - PROMISED) > MARGIN else []),
    ]
    figures = [f"{percent:.1f} %" for percent in (near, grid_near, sweep_near)]
    figures += [f"{value:.2f} sd" for value in (optimism, sweep_optimism)]
    return [truth.what, *figures, f"{covered:.1f} %", judge(not misses, ", ".join(misses))]
