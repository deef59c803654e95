"""Runs more seeds of the configurations that are undecided, until all are decided."""

from collections.abc import Sequence
from dataclasses import dataclass

from models.errors import UsageError
from models.spec import ExperimentSpec
from service.analysis.comparison import Comparison
from service.formatting import plural
from service.specs.grid import repeat

#: The numbers of seeds to begin with and to end at, where nobody says.
LEAST_SEEDS, MOST_SEEDS = 4, 20


@dataclass(frozen=True)
class SeedPlan:
    """The configurations to compare, and with how many seeds each: seeds 0, 1, 2 and so on."""

    #: One spec for each configuration; their seeds mean nothing.
    specs: tuple[ExperimentSpec, ...]
    least: int = LEAST_SEEDS
    most: int = MOST_SEEDS
    #: Differences within this, in the metric's own unit, are too small to matter.
    smallest: float | None = None

    def __post_init__(self) -> None:
        """Raise UsageError for a plan that can decide nothing."""
        if len({spec.configuration for spec in self.specs}) < 2:  # noqa: PLR2004
            raise UsageError(
                "--until decided compares configurations, and this is only one: "
                "repeat an option, as in --dropout 0.8 --dropout none"
            )
        for field in ("dataset", "evaluation"):
            values = sorted({str(getattr(spec, field)) for spec in self.specs})
            if len(values) > 1:
                raise UsageError(
                    f"--until decided compares figures of one {field}, and these are of several: "
                    f"{', '.join(values)}"
                )
        if not 0 < self.least <= self.most or self.most < LEAST_SEEDS:
            raise UsageError(
                f"--seeds {self.least}..{self.most}: with --until decided these are the least and "
                f"the most seeds to run, as in --seeds 4..20; fewer than {LEAST_SEEDS} decide "
                "nothing"
            )

    def __str__(self) -> str:
        configurations = plural(len(self.specs), "configuration")
        return (
            f"{configurations} x {self.least} to {self.most} seeds = "
            f"{len(self.specs) * self.least:,} to {plural(self.most_jobs, 'job')}"
        )

    @property
    def most_jobs(self) -> int:
        """How many jobs there are if nothing is decided early."""
        return len(self.specs) * self.most

    def list_first(self) -> tuple[ExperimentSpec, ...]:
        """Return the specs of the first round: the least number of seeds of each configuration."""
        return repeat(self.specs, range(self.least)).specs

    def list_more(self, comparison: Comparison, seeds: int) -> tuple[ExperimentSpec, ...]:
        """Return the specs of the next round, after one of `seeds` seeds; none if it was the last.

        A quarter more seeds of each configuration that is undecided, and of the baseline.
        """
        undecided = [row.spec for row in comparison.rows if row.is_open]
        more = range(seeds, min(self.most, seeds + -(-seeds // 4)))
        if not undecided or not more:
            return ()
        return repeat([comparison.baseline.spec, *undecided], more).specs


def make_plan(
    specs: Sequence[ExperimentSpec], seeds: tuple[int, ...] | None, smallest: float | None
) -> SeedPlan:
    """Return the plan of `--seeds 4..20`, or of `--seeds 20`, which begins as without it.

    `smallest` is in percentage points of the accuracy.
    """
    share = smallest / 100 if smallest else None
    if not seeds:
        return SeedPlan(tuple(specs), smallest=share)
    first, last = seeds[0], seeds[-1]
    least, most = (min(LEAST_SEEDS, last + 1), last + 1) if first == 0 else (first, last)
    return SeedPlan(tuple(specs), least, most, share)
