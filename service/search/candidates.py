"""The candidates of a tuning: from a grid, or drawn by a sampler of Optuna's."""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from models.spec import ExperimentSpec
from service.analysis.halving import Standing
from service.extras import needing
from service.search.plan import Plan
from service.search.space import Space, round_digits

#: Runs candidates with the seeds of the first rung.
MeasureFirst = Callable[[Sequence[ExperimentSpec]], Sequence[Standing[ExperimentSpec]]]
#: In how many batches TPE draws: the first at random, the others by the figures of the last.
_BATCHES = {"tpe": 3, "qmc": 1}
_SAMPLER_SEED = 0
#: Significant digits of a value that is drawn.
_DIGITS = 3


def list_candidates(plan: Plan, measure: MeasureFirst) -> list[list[ExperimentSpec]]:
    """Return the candidates with dropout, and those without.

    What a sampler draws depends on the plan and on the figures alone, so it is drawn again
    whenever the same tuning goes on.
    """
    drawn = plan.grid if plan.sampler == "grid" else _draw(plan, measure)
    return [[each for each in drawn if each.has_dropout is side] for side in (True, False)]


def _draw(plan: Plan, measure: MeasureFirst) -> list[ExperimentSpec]:
    """Ask a study for candidates, one batch after another, and tell it how they did."""
    size = math.ceil(plan.with_dropout / _BATCHES[plan.sampler])
    study, distributions = _create_study(plan, size), _distributions(plan.space)
    drawn: list[ExperimentSpec] = []
    while len(drawn) < plan.with_dropout:
        number = min(size, plan.with_dropout - len(drawn))
        trials = [study.ask(distributions) for _ in range(number)]
        batch = [_build(plan.space, trial.params) for trial in trials]
        drawn += batch
        if len(drawn) < plan.with_dropout:
            _tell(study, trials, batch, measure(list(dict.fromkeys(batch))))
    return list(dict.fromkeys([*drawn, *plan.without_dropout]))


def _build(space: Space, params: Mapping[str, float]) -> ExperimentSpec:
    """Return the spec of what was drawn, rounded but within the range."""
    ranges = space.ranges
    return space.build(
        {
            name: min(max(round_digits(value, _DIGITS), ranges[name].low), ranges[name].high)
            for name, value in params.items()
        }
    )


def _tell(
    study: Any,
    trials: Sequence[Any],
    batch: Sequence[ExperimentSpec],
    standings: Sequence[Standing[ExperimentSpec]],
) -> None:
    """Tell the study the mean of each candidate, or that it failed."""
    by_candidate = {each.candidate: each for each in standings}
    for trial, candidate in zip(trials, batch, strict=True):
        standing = by_candidate[candidate]
        if standing.failed:
            study.tell(trial, state=_optuna().trial.TrialState.FAIL)
        else:
            study.tell(trial, standing.mean)


def _create_study(plan: Plan, first: int) -> Any:
    """Create a study in memory, whose first candidates are drawn at random."""
    optuna = _optuna()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # of QMCSampler
        if plan.sampler == "qmc":
            sampler = optuna.samplers.QMCSampler(seed=_SAMPLER_SEED, scramble=True)
        else:
            sampler = optuna.samplers.TPESampler(
                seed=_SAMPLER_SEED, n_startup_trials=first, constant_liar=True
            )
    return optuna.create_study(direction="maximize", sampler=sampler)


def _distributions(space: Space) -> dict[str, Any]:
    return {
        name: _optuna().distributions.FloatDistribution(values.low, values.high, log=name == "lr")
        for name, values in space.tuned.items()
    }


def _optuna() -> Any:
    """Return Optuna, an extra, without its log: dq says what is tried."""
    with needing("optuna", "tune", "--sampler"):
        import optuna  # noqa: PLC0415 - needs an extra

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna
