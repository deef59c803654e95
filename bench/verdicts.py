"""Compares simulated runs of known truth: how often a verdict or an interval is wrong."""

import math
import os
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import product

from bench.section import Section, judge
from models.spec import TRAINER_VERSION, ExperimentSpec
from models.state import JobState
from service.analysis.comparison import Comparison, ComparisonRow, compare, count_images
from service.queries.rows import ComparedJob

#: How many seeds a configuration has.
SEEDS = (2, 3, 5, 7, 10)
#: The most comparisons, in percent, that may call better what is not.
MOST_FALSE = 5.0
#: What the intervals promise, and by how much they may miss it, in percent.
PROMISED, MARGIN = 95.0, 1.5
_METRIC = "valid_accuracy"
_ACCURACY = 0.95
#: One task's share of a truth's comparisons.
_CHUNK = 500


@dataclass(frozen=True)
class Truth:
    """How accuracies come about: a normal spread over seeds, rounded to whole images."""

    what: str
    #: By how many images each configuration but the baseline is better.
    shift: float = 0.0
    #: The standard deviation over seeds, in images.
    spread: float = 20.0
    #: The part of the variance that a seed brings to all configurations alike.
    common: float = 0.3
    configurations: int = 2
    shares_seeds: bool = True
    is_skewed: bool = False
    dataset: str = "mnist"


TRUTHS = (
    Truth("no difference"),
    Truth("no difference, other seeds (Welch)", shares_seeds=False),
    Truth("no difference among 10 configurations", configurations=10),
    Truth("better by 1 spread", shift=20),
    Truth("better by 3 spreads, other seeds (Welch)", shift=60, shares_seeds=False),
    Truth("worse by 1 spread", shift=-20),
    Truth("no difference, 300 images, a spread of 2", spread=2, dataset="digits"),
    Truth("better by 4 of 300 images, a spread of 2", shift=4, spread=2, dataset="digits"),
    Truth("no difference, a spread of 1 image", spread=1),
    Truth("no difference, a spread of half an image", spread=0.5),
)
_WHY = (
    "Where a target is missed, the intervals are too wide and never too narrow, for two reasons. "
    "Welch's t with 2 seeds a side has at most 2, often near 1 degrees of freedom, and covers more "
    "than it says. And no spread is taken as smaller than half an image, the most that a figure "
    "can spread over two neighbouring values: with two or three seeds and a spread of few images, "
    "equal figures are common and would else prove a difference."
)
_WHY_SKEWED = (
    "The skewed rows have no target: accuracies there are an exponential distribution's, turned "
    "round, and few seeds seldom show its long tail, so that their mean is too high and their "
    "spread too small at the same time. No interval by Student's t can cover a mean then as it "
    "promises; more seeds mend it slowly. A difference is that of two figures skewed alike, which "
    "is symmetrical: it is covered, and verdicts are as good as elsewhere."
)
#: Beyond what Student's t promises anything for: shown, without a target.
LIMITS = (Truth("no difference, skewed: some seeds train badly", is_skewed=True),)


@dataclass(frozen=True)
class Task:
    """Some comparisons of one truth; `number` makes their random numbers their own."""

    truth: Truth
    seeds: int
    number: int
    comparisons: int


def measure(comparisons: int) -> Section:
    """Simulate comparisons for each truth and number of seeds."""
    cells = list(product((*TRUTHS, *LIMITS), SEEDS))
    found = [count for _, count in zip(cells, _simulate(cells, comparisons), strict=True)]
    about = (
        f"{comparisons:,} comparisons a row by `service.analysis.comparison.compare`, with "
        f"an accuracy of {_ACCURACY}; a false verdict is one in any row of a comparison. Targets: "
        f"false better at most {MOST_FALSE:g} %; the 95 % intervals of a mean and of a difference "
        f"cover the truth in {PROMISED:g} % +- {MARGIN}. Misses are in points beyond a target."
    )
    columns = ["truth", "seeds", "false better", "false worse", "right verdicts"]
    columns += ["mean covered", "difference covered", ""]
    rows = [_row(*cell, count) for cell, count in zip(cells, found, strict=True)]
    return Section("Verdicts", about, columns, rows, _explain(zip(cells, found, strict=True)))


def _simulate(cells: Iterable[tuple[Truth, int]], comparisons: int) -> Iterator[Counter[str]]:
    """Yield the counts of each cell, in order."""
    chunks = range(0, comparisons, _CHUNK)
    with ProcessPoolExecutor(os.cpu_count()) as processes:
        for truth, seeds in cells:
            tasks = [
                Task(truth, seeds, number, min(_CHUNK, comparisons - number)) for number in chunks
            ]
            yield sum(processes.map(run, tasks), Counter())


def run(task: Task) -> Counter[str]:
    """Simulate a task's comparisons and count what they say."""
    truth = task.truth
    # A text seeds the same numbers in every process, which a hash would not.
    draws = random.Random(f"{truth.what} {task.seeds} {task.number}")
    specs = make_specs(truth, task.seeds)
    counts: Counter[str] = Counter()
    for _ in range(task.comparisons):
        centre = _ACCURACY * _images(specs[0][0]) + draws.random()
        runs = draw_runs(truth, specs, centre, draws)
        counts.update(_count(compare(runs, _METRIC), truth, centre))
    return counts


def make_specs(truth: Truth, seeds: int) -> list[list[ExperimentSpec]]:
    """Return the specs of each configuration; the first, the baseline, has no dropout."""
    rates = [1 - 0.05 * index for index in range(truth.configurations)]
    step = 0 if truth.shares_seeds else seeds
    return [
        [
            ExperimentSpec(dataset=truth.dataset, hidden=(64,), keep=(keep,), batch_size=50, seed=s)
            for s in range(index * step, index * step + seeds)
        ]
        for index, keep in enumerate(rates)
    ]


def draw_runs(
    truth: Truth, specs: Sequence[Sequence[ExperimentSpec]], centre: float, draws: random.Random
) -> list[ComparedJob]:
    """Draw an accuracy for each spec; `centre` is the baseline's mean, in images."""
    commons: dict[int, float] = {}
    runs: list[ComparedJob] = []
    for index, configuration in enumerate(specs):
        mean = centre + (truth.shift if index else 0)
        for spec in configuration:
            common = commons.setdefault(spec.seed, _draw(truth, draws))
            part = truth.common**0.5 * common + (1 - truth.common) ** 0.5 * _draw(truth, draws)
            accuracy = round(mean + truth.spread * part) / _images(spec)
            runs.append(_run(len(runs) + 1, spec, accuracy))
    return runs


def _draw(truth: Truth, draws: random.Random) -> float:
    """Draw a number of mean 0 and standard deviation 1."""
    return 1 - draws.expovariate(1) if truth.is_skewed else draws.gauss()


def _run(job_id: int, spec: ExperimentSpec, accuracy: float) -> ComparedJob:
    return ComparedJob(job_id, JobState.SUCCEEDED, spec, TRAINER_VERSION, {_METRIC: accuracy})


def _images(spec: ExperimentSpec) -> int:
    return count_images(spec, _METRIC) or 0


def _count(comparison: Comparison, truth: Truth, centre: float) -> Counter[str]:
    """Count the wrong and right verdicts, and the intervals that hold the truth."""
    base, *others = comparison.rows
    verdicts = {row.verdict for row in others}
    images = comparison.images or 0
    shift = truth.shift / images
    counts = Counter(comparisons=1, rows=len(others), means=1 + len(others))
    counts["false better"] = "better" in verdicts and shift <= 0
    counts["false worse"] = "worse" in verdicts and shift >= 0
    counts["right"] = sum(_is_right(row, shift) for row in others)
    counts["mean"] = _covers(base.low, base.high, centre / images) + sum(
        _covers(row.low, row.high, centre / images + shift) for row in others
    )
    counts["difference"] = sum(
        _covers(row.difference_low, row.difference_high, shift) for row in others
    )
    return counts


def _is_right(row: ComparisonRow, shift: float) -> bool:
    if shift == 0:
        return row.verdict not in {"better", "worse"}
    return row.verdict == ("better" if shift > 0 else "worse")


def _covers(low: float | None, high: float | None, value: float) -> bool:
    return low is not None and high is not None and low <= value <= high


@dataclass(frozen=True)
class Shares:
    """The counts as percentages."""

    better: float
    worse: float
    right: float
    mean: float
    difference: float


def share(counts: Counter[str]) -> Shares:
    """Divide the counts by what they are of."""

    def of(what: str, whole: str) -> float:
        return 100 * counts[what] / counts[whole]

    return Shares(
        better=of("false better", "comparisons"),
        worse=of("false worse", "comparisons"),
        right=of("right", "rows"),
        mean=of("mean", "means"),
        difference=of("difference", "rows"),
    )


def _row(truth: Truth, seeds: int, counts: Counter[str]) -> list[str]:
    shares = share(counts)
    shown = (shares.better, shares.worse, shares.right, shares.mean, shares.difference)
    misses = _list_misses(shares)
    verdict = judge(None if truth in LIMITS else not misses, ", ".join(misses))
    return [truth.what, str(seeds), *(f"{percent:.1f} %" for percent in shown), verdict]


def _list_misses(shares: Shares) -> list[str]:
    """Say by how many points each target is missed, above or below."""
    misses = [f"{shares.better - MOST_FALSE:+.1f}"] if shares.better > MOST_FALSE else []
    for what, percent in (("mean", shares.mean), ("difference", shares.difference)):
        if abs(percent - PROMISED) > MARGIN:
            edge = PROMISED + math.copysign(MARGIN, percent - PROMISED)
            misses.append(f"{percent - edge:+.1f} ({what})")
    return misses


def _explain(found: Iterable[tuple[tuple[Truth, int], Counter[str]]]) -> list[str]:
    """Say how far from the targets the worst rows are, to either side."""
    judged = [share(counts) for (truth, _), counts in found if truth not in LIMITS]
    covered = [percent for shares in judged for percent in (shares.mean, shares.difference)]
    extremes = (
        f"Of the rows with a target: false better at most {max(s.better for s in judged):.1f} %; "
        f"the intervals cover {min(covered):.1f} % to {max(covered):.1f} %."
    )
    are_too_wide = min(covered) >= PROMISED - MARGIN and max(covered) > PROMISED + MARGIN
    return [extremes, *([_WHY] if are_too_wide else []), _WHY_SKEWED]
