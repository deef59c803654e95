"""Tunes: selects candidates by halving, and confirms the best with dropout and without."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from models.errors import DqError
from models.spec import ExperimentSpec
from service.analysis.comparison import Comparison, compare
from service.analysis.halving import RUNGS, Standing, select
from service.analysis.samples import collect_samples
from service.formatting import plural
from service.queries.rows import ComparedJob
from service.search.candidates import list_candidates
from service.search.plan import Plan
from service.specs.grid import repeat

METRIC = "valid_accuracy"

#: The standing of a configuration that was tried; the seed of its spec means nothing.
Tried = Standing[ExperimentSpec]
#: Runs specs, unless they have run, and returns their jobs once all have ended. The title says
#: what the specs are: "Rung 2 of 4: 15 candidates, seeds 0..4".
Run = Callable[[str, Sequence[ExperimentSpec]], Sequence[ComparedJob]]
#: Called with the standings of each rung.
OnRung = Callable[[Sequence[Tried]], None]


@dataclass(frozen=True)
class Tuning:
    """What was tried, and how the best with dropout and the best without compare on new seeds."""

    plan: Plan
    #: Best first.
    with_dropout: Sequence[Tried]
    without_dropout: Sequence[Tried]
    #: On the test images.
    confirmation: Comparison

    @property
    def tried(self) -> Sequence[Tried]:
        """All candidates: those with dropout, best first, and then those without."""
        return *self.with_dropout, *self.without_dropout

    @property
    def contenders(self) -> Sequence[Tried]:
        """The best with dropout and the best without, which are confirmed."""
        return self.with_dropout[0], self.without_dropout[0]


def tune(plan: Plan, run: Run, on_rung: OnRung = lambda _: None) -> Tuning:
    """Select candidates on validation images by halving, and confirm the contenders.

    Raises DqError if all candidates with dropout failed, or all without.
    """

    def measure(candidates: Sequence[ExperimentSpec], seeds: int) -> Sequence[Tried]:
        rung = f"Rung {RUNGS.index(seeds) + 1} of {len(plan.rungs)}"
        standings = _measure(rung, candidates, seeds, run)
        on_rung(standings)
        return standings

    sides = list_candidates(plan, lambda batch: _measure("Sampled", batch, RUNGS[0], run))
    with_dropout, without_dropout = select(sides, measure)
    _refuse_failed(with_dropout, "with dropout")
    _refuse_failed(without_dropout, "without dropout")
    contenders = with_dropout[0].candidate, without_dropout[0].candidate
    return Tuning(plan, with_dropout, without_dropout, _confirm(plan, contenders, run))


def _measure(
    what: str, candidates: Sequence[ExperimentSpec], seeds: int, run: Run
) -> Sequence[Tried]:
    """Run candidates with the first `seeds` seeds."""
    title = f"{what}: {plural(len(candidates), 'candidate')}, seeds 0..{seeds - 1}"
    jobs = run(title, repeat(candidates, range(seeds)).specs)
    values = {each.spec.configuration: each.values for each in collect_samples(jobs, METRIC)}
    return [Standing(each, values.get(each.configuration, {}), seeds) for each in candidates]


def _refuse_failed(side: Sequence[Tried], which: str) -> None:
    if not side[0].values:
        raise DqError(
            f"All {plural(len(side), 'candidate')} {which} failed. Type: dq results state:failed"
        )


def _confirm(plan: Plan, contenders: Sequence[ExperimentSpec], run: Run) -> Comparison:
    """Compare the contenders on seeds and images that the selection has not seen."""
    specs = [each.model_copy(update={"evaluation": "test"}) for each in contenders]
    seeds = plan.confirmation_seeds
    title = f"Confirmation: 2 contenders, seeds {seeds[0]}..{seeds[-1]}, test images"
    # The plan fixed the seeds, also that of a job which failed and was submitted again later.
    jobs = [replace(job, created_at=None) for job in run(title, repeat(specs, seeds).specs)]
    return compare(jobs, METRIC, specs[-1].configuration, fixed_seeds=True)
