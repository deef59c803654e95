"""The tables of `dq tune`: its plan, and what was tried."""

import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from models.spec import ExperimentSpec
from service.analysis.halving import rank
from service.formatting import (
    describe_fields,
    format_field,
    format_metric,
    label,
    plural,
    title_metric,
)
from service.reports.comparison_table import comparison_table
from service.reports.job_tables import spec_column
from service.reports.table import Column, Table
from service.search.plan import Plan
from service.search.tuning import METRIC, Tried, Tuning

#: The most values of a range, and the most names of candidates, in a line.
_MOST_VALUES = 8
_MOST_NAMES = 3
#: Ends beyond which there is nothing.
_NO_DROPOUT = {"keep": 1.0, "input_keep": 1.0}
_SPEC_FIELDS = tuple(name for name in ExperimentSpec.model_fields if name != "seed")


def plan_table(plan: Plan) -> Table:
    """List the rungs of a plan and the confirmation, under what will be tried."""
    rungs = [
        {"step": f"rung {number}", "images": "validation", **vars(rung)}
        for number, rung in enumerate(plan.rungs, 1)
    ]
    confirmation = {"candidates": 2, "seeds": plan.confirm, "runs": 2 * plan.confirm}
    rows = [*rungs, {"step": "confirmation", "images": "test", **confirmation}]
    columns = (
        Column("step", "step"),
        Column("candidates", "candidates", align="right"),
        Column("seeds", "seeds", align="right"),
        Column("images", "images"),
        Column("runs", "new runs", "{:,}".format, "right"),
    )
    return Table(
        columns,
        rows,
        title=(_describe_base(plan), *_describe_values(plan)),
        footnotes=(_describe_numbers(plan),),
        json_value={"values": plan.values, "steps": rows},
    )


def describe_rung(plan: Plan, rung: Sequence[Tried]) -> str:
    """Say which candidates of a rung are ahead, and which failed."""
    sound = [each.candidate for each in rank(rung) if not each.failed]
    sides = [[spec for spec in sound if spec.has_dropout is side] for side in (True, False)]
    leaders = [_name(plan, side[0]) for side in sides if side]
    sentences = [f"Ahead: {'; '.join(leaders)}."] if leaders else []
    if failed := [_name(plan, each.candidate) for each in rung if each.failed]:
        more = len(failed) - _MOST_NAMES
        others = f" and {plural(more, 'other')}" if more > 0 else ""
        names = "; ".join(failed[:_MOST_NAMES])
        sentences.append(f"Failed, which counts as worst: {names}{others}.")
    return " ".join(sentences)


def _name(plan: Plan, candidate: ExperimentSpec) -> str:
    return label(candidate, plan.space.varying, ", ")


def tuning_table(tuning: Tuning) -> Table:
    """List all that was tried, best first, with the figures of the selection.

    Its JSON is one object, with the confirmation beside them.
    """
    rows = [_flatten(tuning, tried) for tried in tuning.tried]
    return Table(
        columns=tuple(_columns(tuning.plan.space.varying)),
        rows=rows,
        title=(_title(tuning), _describe_base(tuning.plan)),
        footnotes=(_warn(tuning), *_note_ends(tuning)),
        fields=tuple(rows[0]),
        json_value={
            "metric": METRIC,
            "tried": rows,
            "confirmation": comparison_table(tuning.confirmation).json_value,
        },
    )


def _columns(varying: Collection[str]) -> Iterable[Column]:
    value = partial(format_metric, METRIC)
    yield from (spec_column(name) for name in varying)
    yield Column("n", "n", align="right")
    yield Column("mean", "mean", value, "right")
    yield Column("std", "sd", value, "right", 40)
    yield Column("outcome", "outcome")


def _flatten(tuning: Tuning, tried: Tried) -> Mapping[str, Any]:
    """Put the spec of a candidate beside its figures."""
    figures = list(tried.values.values())
    return {
        **{name: getattr(tried.candidate, name) for name in _SPEC_FIELDS},
        "n": len(figures),
        "failed": tried.failed,
        "mean": tried.mean,
        "std": statistics.stdev(figures) if len(figures) > 1 else None,
        "outcome": _describe_outcome(tuning, tried),
    }


def _describe_outcome(tuning: Tuning, tried: Tried) -> str | None:
    if tried.failed:
        return f"{plural(tried.failed, 'seed')} failed"
    return "contender" if tried in tuning.contenders else None


def _title(tuning: Tuning) -> str:
    images = tuning.plan.space.base.evaluation_images
    return f"Selection: {title_metric(METRIC).lower()} on {images:,} images, higher is better"


def _warn(tuning: Tuning) -> str:
    """Say in words how far the means of the selection can be trusted."""
    return (
        "These means have chosen the contenders, so theirs are too high: the best of "
        f"{len(tuning.with_dropout)} is partly the luckiest. They are no result. What counts is "
        "the comparison on seeds and images that have chosen nothing."
    )


def _note_ends(tuning: Tuning) -> Iterable[str]:
    """Say which values of the best with dropout are at an end of what was tried."""
    best = tuning.contenders[0].candidate
    chosen = {"keep": best.keep[0], "lr": best.lr, "input_keep": best.input_keep}
    for name, values in tuning.plan.space.tuned.items():
        if chosen[name] in (values.low, values.high) and chosen[name] != _NO_DROPOUT.get(name):
            value = f"{name.replace('_', ' ')} {format_field('', chosen[name])}"
            yield f"Of the best, {value} is an end of the range {values}: look beyond it, too."


def _describe_base(plan: Plan) -> str:
    """Describe what all candidates have in common."""
    base = plan.space.base
    tuned = {*plan.space.ranges, "seed"}
    return describe_fields(base, [name for name in base.described_fields if name not in tuned])


def _describe_values(plan: Plan) -> Iterable[str]:
    """Say which values of each field are tried."""
    for name, values in plan.space.ranges.items():
        if values.is_single:
            text = str(values)
        elif plan.sampler == "grid":
            text = _abbreviate(plan.values[name])
        else:
            text = f"{values}, drawn by {plan.sampler}"
        yield f"{name.replace('_', ' ')} {text}"


def _abbreviate(values: Sequence[float]) -> str:
    texts = [format_field("", value) for value in values]
    if len(texts) <= _MOST_VALUES:
        return ", ".join(texts)
    return f"{', '.join(texts[:3])}, ... {', '.join(texts[-2:])} ({len(texts)} values)"


def _describe_numbers(plan: Plan) -> str:
    without = plan.counts["lr"]
    return (
        f"{plural(plan.with_dropout, 'candidate')} with dropout, {without} without; "
        f"{plural(plan.runs, 'run')} to select, {2 * plan.confirm} to confirm."
    )
