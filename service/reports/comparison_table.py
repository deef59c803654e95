"""Shows a comparison as a table: what differs, each figure's uncertainty, and a conclusion."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

from models.spec import ExperimentSpec
from service.analysis.comparison import Comparison, ComparisonRow, describe_common
from service.analysis.statistics import ALPHA, ANY_TIME, FIXED_SEEDS
from service.formatting import (
    describe_difference,
    format_difference,
    format_field,
    format_interval,
    format_jobs,
    format_metric,
    format_p,
    label,
    plural,
    title_metric,
    unit_of,
)
from service.reports.table import Column, Table

_STYLES = {"better": "green", "worse": "red"}
#: At most this many rows get a sentence each in the conclusion.
_MAX_SENTENCES = 3
_VALIDITY = {
    ANY_TIME.name: "Intervals and p hold however often you look or add seeds (any-time t test)",
    FIXED_SEEDS.name: "Intervals and p are for seeds fixed beforehand (Student's t test)",
}
_SPEC_FIELDS = tuple(name for name in ExperimentSpec.model_fields if name != "seed")
_FIGURES = (
    *("n", "running", "queued", "failed", "mean", "low", "high", "std", "minimum", "maximum"),
    *("difference", "difference_low", "difference_high", "shared", "p", "p_holm"),
    *("verdict", "more_seeds", "fill_to"),
)


def comparison_table(
    comparison: Comparison, epoch_choice: str = "final", selector: str | None = None
) -> Table:
    """Make the table of a comparison of metrics at an epoch: final, best:METRIC, epoch:N.

    `selector` names the compared jobs, if one does.

    Its JSON is one object: the comparison's fields, `rows` and `conclusion`. Its CSV has every
    field of the spec, and the two ends of an interval in two fields.
    """
    rows = [_flatten(row) for row in comparison.rows]
    return Table(
        columns=(*_spec_columns(comparison), *_figure_columns(comparison)),
        rows=rows,
        title=_title(comparison, epoch_choice),
        footnotes=tuple(_footnotes(comparison, selector)),
        fields=("configuration", *_SPEC_FIELDS, *_FIGURES),
        json_value=_document(comparison, rows),
    )


def conclude(comparison: Comparison) -> str:
    """Say in plain words what the comparison shows."""
    baseline = _name(comparison, comparison.baseline)
    decided = sorted(comparison.decided, key=lambda row: row.p_holm or 0.0)
    if decided:
        sentences = [_conclude_row(comparison, row) for row in decided[:_MAX_SENTENCES]]
        left = len(decided) - len(sentences)
        return " ".join([*sentences, *([f"See the verdicts for {left} more."] if left else [])])
    if len(comparison.rows) == 1:
        return "There is only one configuration, and nothing to compare it with."
    if any(row.more_seeds for row in comparison.rows):
        return f"Too few seeds to call any configuration better or worse than {baseline}."
    if any(row.verdict.startswith("wait") for row in comparison.rows):
        jobs = plural(len(comparison.unfinished), "job")
        are = "is" if len(comparison.unfinished) == 1 else "are"
        return f"{jobs} {are} queued or running: wait for the results before you submit more."
    return f"No configuration can be called better or worse than {baseline}."


def _conclude_row(comparison: Comparison, row: ComparisonRow) -> str:
    """Say that a decided row is better or worse than the baseline, and by how much.

    The row comes first: "no dropout beats keep 0.5" reads as if no dropout at all did.
    """
    name, other = (_name(comparison, each) for each in (row, comparison.baseline))
    margin = describe_difference(comparison.metric, row.difference or 0.0)
    p = format_p(row.p_holm or 0.0)
    equation = f"p {p[0]} {p[1:]}" if p.startswith("<") else f"p = {p}"
    return f"{name[0].upper()}{name[1:]} is {row.verdict} than {other} by {margin} ({equation})."


def _name(comparison: Comparison, row: ComparisonRow) -> str:
    """Write a row's label with commas, as a sentence needs them."""
    return label(row.spec, comparison.varying, separator=", ")


def _flatten(row: ComparisonRow) -> Mapping[str, Any]:
    """Put a row's spec beside its figures, and each interval's two ends together as well."""
    return {
        **{name: getattr(row.spec, name) for name in _SPEC_FIELDS},
        **{name: getattr(row, name) for name in ("configuration", "label", "jobs", *_FIGURES)},
        "interval": _pair(row.low, row.high),
        "others": describe_others(row) or None,
        "range": _pair(row.minimum, row.maximum),
        "difference_interval": _pair(row.difference_low, row.difference_high),
    }


def describe_others(row: ComparisonRow) -> str:
    """Say how many seeds are not in `n`, and why: "1 running, 4 queued"."""
    counted = {"running": row.running, "queued": row.queued, "failed": row.failed}
    return ", ".join(f"{seeds:,} {state}" for state, seeds in counted.items() if seeds)


def _pair(low: float | None, high: float | None) -> tuple[float, float] | None:
    return None if low is None or high is None else (low, high)


def _spec_columns(comparison: Comparison) -> Iterable[Column]:
    titles = {"batch_size": "batch", "train_size": "images"}
    for name in comparison.varying or ("keep",):
        is_text = name in {"dataset", "hidden", "keep"}
        align: Any = "left" if is_text else "right"
        yield Column(name, titles.get(name, name), partial(format_field, name), align)


def _figure_columns(comparison: Comparison) -> Iterable[Column]:
    """List the columns of figures; where the width is short, what is concluded stays longest."""
    value = partial(format_metric, comparison.metric)
    yield Column("n", "n", align="right", priority=70, factors_out=True)
    if any(map(describe_others, comparison.rows)):
        yield Column("others", "not in n", priority=45)
    yield Column("mean", "mean", value, "right", 60)
    yield Column("interval", "95 % interval", partial(format_interval, value), "right", 55)
    yield Column("std", "sd", value, "right", 40)
    yield Column("range", "min..max", partial(format_interval, value), "right", 20)
    if len(comparison.rows) > 1:
        yield from _difference_columns(comparison)
    yield Column("verdict", "verdict", fold=14, style=lambda verdict: _STYLES.get(verdict, ""))


def _difference_columns(comparison: Comparison) -> Iterable[Column]:
    value = partial(format_difference, comparison.metric)
    interval = partial(format_interval, value)
    yield Column("difference", "diff", value, "right", 90)
    yield Column("difference_interval", "diff 95 % interval", interval, "right", 85)
    yield Column("p_holm", "p", format_p, "right", 80)


def _title(comparison: Comparison, epoch_choice: str) -> tuple[str, ...]:
    title = title_metric(comparison.metric, comparison.common.get("evaluation", "valid"))
    if not comparison.metric.endswith("accuracy"):
        title += f" ({unit_of(comparison.metric)})"
    images = f" on {comparison.images:,} images" if comparison.images else ""
    direction = "higher" if comparison.higher_is_better else "lower"
    at = "" if epoch_choice == "final" else f" at {epoch_choice}"
    return f"{title}{images}{at}, {direction} is better", describe_common(comparison)


def _footnotes(comparison: Comparison, selector: str | None) -> Iterable[str]:
    """List what a reader must know to trust the figures, the conclusion first."""
    yield conclude(comparison)
    yield from _note_missing_seeds(comparison, selector)
    yield from _note_test(comparison)
    yield from _note_noise(comparison)
    yield from _note_left_out(comparison)
    yield from _note_repeats(comparison)


def _note_missing_seeds(comparison: Comparison, selector: str | None) -> Iterable[str]:
    """Say how to run the seeds that are missing; those of decided rows are not run."""
    if not comparison.undecided:
        return
    jobs = selector
    if comparison.decided or not jobs:
        rows = (comparison.baseline, *comparison.undecided)
        jobs = ",".join(str(row.first_job) for row in rows)
    seeds = max(row.fill_to or 0 for row in comparison.undecided)
    yield f"For more seeds: dq submit --fill {jobs} --seeds {seeds}"


def _note_test(comparison: Comparison) -> Iterable[str]:
    if all(row.p is None for row in comparison.rows):
        return
    tests = len(comparison.rows) - 1
    corrected = f", corrected for {tests} tests (Holm)" if tests > 1 else ""
    yield (
        f"Differences are from {_name(comparison, comparison.baseline)}, over shared seeds. "
        f"{_VALIDITY[comparison.test]}{corrected}; better or worse where p < {ALPHA}."
    )


def _note_noise(comparison: Comparison) -> Iterable[str]:
    if comparison.sampling_noise is not None and comparison.images:
        yield (
            f"Sampling noise: {comparison.images:,} images fix an accuracy only to a standard "
            f"error of {describe_difference('accuracy', comparison.sampling_noise)}; more seeds do "
            "not reduce it."
        )


def _note_left_out(comparison: Comparison) -> Iterable[str]:
    kinds = {name: name for name in ("failed", "unfinished", "cancelled")}
    kinds["unmeasured"] = "without this metric"
    parts = [
        f"{len(ids):,} {words} ({format_jobs(ids)})"
        for kind, words in kinds.items()
        if (ids := getattr(comparison, kind))
    ]
    if parts:
        yield f"Not included: {', '.join(parts)}."


def _note_repeats(comparison: Comparison) -> Iterable[str]:
    if comparison.duplicates:
        repeats = format_jobs(comparison.duplicates)
        yield f"Each seed counts once, so repeats are not included: {repeats}."
    if comparison.disagreeing:
        yield (
            f"Of these, {format_jobs(comparison.disagreeing)} gave a different figure for the same "
            "spec. Was it another kind of device?"
        )


def _document(comparison: Comparison, rows: list[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Make the JSON object: the comparison's own fields, with rows of raw figures."""
    keys = ("configuration", "label", *_SPEC_FIELDS, *_FIGURES, "jobs")
    facts = asdict(comparison)
    return {
        "metric": facts.pop("metric"),
        "higher_is_better": comparison.higher_is_better,
        "baseline": comparison.baseline.configuration,
        "alpha": ALPHA,
        **facts,
        "rows": [{key: row[key] for key in keys} for row in rows],
        "conclusion": conclude(comparison),
    }
