"""Shows a comparison as a table: what differs, each figure's uncertainty, and a conclusion."""

import itertools
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

from models.spec import ExperimentSpec
from service.analysis.comparison import Comparison, ComparisonRow, describe_common
from service.analysis.statistics import ALPHA, ANY_TIME, FIXED_SEEDS
from service.formatting import (
    describe_difference,
    describe_field,
    format_difference,
    format_field,
    format_interval,
    format_jobs,
    format_metric,
    format_p,
    join_words,
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
_NAMES = ("configuration", "label")
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
    rows = [_flatten_pooled(comparison, row) for row in comparison.rows]
    return Table(
        columns=(*_spec_columns(comparison), *_columns(comparison)),
        rows=rows,
        title=title_comparison(comparison, epoch_choice),
        footnotes=tuple(_footnotes(comparison, selector)),
        fields=("configuration", *_SPEC_FIELDS, *_FIGURES, *(["strata"] if comparison.by else [])),
        json_value=_document(comparison, rows),
        below=_strata_table(comparison) if comparison.by else None,
    )


def _strata_table(comparison: Comparison) -> Table:
    """Make the table of all strata, in which nothing is judged."""
    rows = [row for stratum in comparison.strata for row in stratum.rows]
    columns = (
        *_spec_columns(comparison, comparison.by),
        *_mean_columns(comparison.metric, rows),
        *_difference_columns(comparison.metric),
    )
    condition = " and ".join(
        _write_condition(*pair) for pair in comparison.strata[0].values.items()
    )
    return Table(
        columns=columns,
        rows=[_flatten(row) for row in rows],
        title=("Within each stratum",),
        footnotes=(
            "Nothing is judged here, and each interval is on its own. "
            f"For a verdict in one stratum: --where '{condition}'",
        ),
    )


def _write_condition(name: str, value: Any) -> str:
    """Write what `--where` takes for a field: of one layer, it is 16x1."""
    text = "none" if value is None else format_field(name, value)
    return f"{name} == {text}{'x1' if name == 'hidden' and len(value) == 1 else ''}"


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
    shown = " shown" if comparison.not_shown else ""
    if any(row.more_seeds for row in comparison.rows):
        return f"Too few seeds to call any configuration{shown} better or worse than {baseline}."
    if any(row.verdict.startswith("wait") for row in comparison.rows):
        jobs = plural(len(comparison.unfinished), "job")
        are = "is" if len(comparison.unfinished) == 1 else "are"
        return f"{jobs} {are} queued or running: wait for the results before you submit more."
    return f"No configuration{shown} can be called better or worse than {baseline}."


def _conclude_row(comparison: Comparison, row: ComparisonRow) -> str:
    """Say that a decided row is better or worse than the baseline, and by how much.

    The row comes first: "no dropout beats keep 0.5" reads as if no dropout at all did.
    """
    name, other = (_name(comparison, each) for each in (row, comparison.baseline))
    margin = describe_difference(comparison.metric, row.difference or 0.0)
    p = format_p(row.p_holm or 0.0)
    equation = f"p {p[0]} {p[1:]}" if p.startswith("<") else f"p = {p}"
    where = f" on average over {_describe_strata(comparison, row)}" if comparison.by else ""
    finding = f"{row.verdict} than {other} by {margin}{where} ({equation})"
    return f"{name[0].upper()}{name[1:]} is {finding}."


def _describe_strata(comparison: Comparison, row: ComparisonRow) -> str:
    all = comparison.baseline.strata
    return f"{_format_strata(all, row.strata)} {'stratum' if all == 1 else 'strata'}"


def _name(comparison: Comparison, row: ComparisonRow) -> str:
    """Write a row's label with commas, as a sentence needs them."""
    return label(row.spec, comparison.varying, separator=", ")


def _flatten_pooled(comparison: Comparison, row: ComparisonRow) -> Mapping[str, Any]:
    """Leave out the fields that strata differ in; add the range of the strata's differences."""
    if not comparison.by:
        return _flatten(row)
    rows = itertools.chain(*(stratum.rows for stratum in comparison.strata))
    within = [each.difference for each in rows if each.label == row.label]
    differences = [difference for difference in within if difference is not None]
    return {
        **_flatten(row),
        **dict.fromkeys(["configuration", *comparison.by]),
        "strata_range": (min(differences), max(differences)) if differences else None,
    }


def _flatten(row: ComparisonRow) -> Mapping[str, Any]:
    """Put a row's spec beside its figures, and each interval's two ends together as well."""
    return {
        **{name: getattr(row.spec, name) for name in _SPEC_FIELDS},
        **{name: getattr(row, name) for name in (*_NAMES, *_FIGURES, "strata", "jobs")},
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


def _spec_columns(comparison: Comparison, by: Iterable[str] = ()) -> Iterable[Column]:
    titles = {"batch_size": "batch", "train_size": "images"}
    for name in (*by, *(comparison.varying or ("keep",))):
        is_text = name in {"dataset", "hidden", "keep"}
        align: Any = "left" if is_text else "right"
        yield Column(name, titles.get(name, name), partial(format_field, name), align)


def _columns(comparison: Comparison) -> Iterable[Column]:
    """List the columns of figures; where the width is short, what is concluded stays longest."""
    if comparison.by:
        count = partial(_format_strata, comparison.baseline.strata)
        yield Column("strata", "strata", count, "right", 95, factors_out=True)
    yield from _mean_columns(comparison.metric, comparison.rows)
    if len(comparison.rows) > 1:
        yield from _difference_columns(comparison.metric)
        if comparison.by:
            yield _strata_range_column(comparison.metric)
        yield Column("p_holm", "p", format_p, "right", 80)
    yield Column("verdict", "verdict", fold=14, style=lambda verdict: _STYLES.get(verdict, ""))


def _format_strata(all: int, strata: int) -> str:
    return str(all) if strata == all else f"{strata} of {all}"


def _mean_columns(metric: str, rows: Collection[ComparisonRow]) -> Iterable[Column]:
    value = partial(format_metric, metric)
    yield Column("n", "n", align="right", priority=70, factors_out=True)
    if any(map(describe_others, rows)):
        yield Column("others", "not in n", priority=45)
    yield Column("mean", "mean", value, "right", 60)
    yield Column("interval", "95 % interval", partial(format_interval, value), "right", 55)
    yield Column("std", "sd", value, "right", 40)
    yield Column("range", "min..max", partial(format_interval, value), "right", 20)


def _difference_columns(metric: str) -> Iterable[Column]:
    value = partial(format_difference, metric)
    interval = partial(format_interval, value)
    yield Column("difference", "diff", value, "right", 90)
    yield Column("difference_interval", "diff 95 % interval", interval, "right", 85)


def _strata_range_column(metric: str) -> Column:
    interval = partial(format_interval, partial(format_difference, metric))
    return Column("strata_range", "diff in strata", interval, "right", 75)


def title_comparison(comparison: Comparison, epoch_choice: str) -> tuple[str, ...]:
    """Say what is compared and which way is better, then what all rows have in common."""
    title = title_metric(comparison.metric, comparison.common.get("evaluation", "valid"))
    if not comparison.metric.endswith("accuracy"):
        title += f" ({unit_of(comparison.metric)})"
    images = f" on {comparison.images:,} images" if comparison.images else ""
    direction = "higher" if comparison.higher_is_better else "lower"
    at = "" if epoch_choice == "final" else f" at {epoch_choice}"
    lines = f"{title}{images}{at}, {direction} is better", describe_common(comparison)
    if not comparison.by:
        return lines
    strata = _describe_strata(comparison, comparison.baseline)
    return *lines, f"Means over {strata}, by {join_words(comparison.by, 'and')}"


def _footnotes(comparison: Comparison, selector: str | None) -> Iterable[str]:
    """List what a reader must know to trust the figures, the conclusion first."""
    yield conclude(comparison)
    yield from _note_missing_seeds(comparison, selector)
    yield from _note_test(comparison)
    yield from _note_strata(comparison)
    yield from _note_not_shown(comparison)
    yield from _note_noise(comparison)
    yield from _note_left_out(comparison)
    yield from _note_repeats(comparison)


def _note_missing_seeds(comparison: Comparison, selector: str | None) -> Iterable[str]:
    """Say how to run the seeds that are missing; those of decided rows are not run."""
    if not comparison.undecided:
        return
    jobs = selector
    if comparison.decided or comparison.not_shown or not jobs:
        jobs = ",".join(map(str, _list_first_jobs(comparison)))
    seeds = max(row.fill_to or 0 for row in comparison.undecided)
    yield f"For more seeds: dq submit --fill {jobs} --seeds {seeds}"


def _list_first_jobs(comparison: Comparison) -> list[int]:
    """List a job of each configuration, in all strata, that needs more seeds; and of the baseline.

    Strata without the baseline need none.
    """
    labels = {row.label for row in (comparison.baseline, *comparison.undecided)}
    strata = [stratum.rows for stratum in comparison.strata if stratum.has_baseline]
    rows = itertools.chain(*strata) if comparison.by else comparison.rows
    return [row.first_job for row in rows if row.label in labels]


def _note_test(comparison: Comparison) -> Iterable[str]:
    if all(row.p is None for row in comparison.rows):
        return
    corrected = f", corrected for {comparison.tests} tests (Holm)" if comparison.tests > 1 else ""
    within = " within each stratum, over seeds that all strata have"
    where = within if comparison.by else ", over shared seeds"
    yield (
        f"Differences are from {_name(comparison, comparison.baseline)}{where}. "
        f"{_VALIDITY[comparison.test]}{corrected}; better or worse where p < {ALPHA}."
    )


def _note_strata(comparison: Comparison) -> Iterable[str]:
    if any(row.strata < comparison.baseline.strata for row in comparison.rows):
        yield "Over fewer strata, compare the difference and not the mean."
    alone = [each for each in comparison.strata if not each.has_baseline]
    if alone:
        names = "; ".join(
            ", ".join(describe_field(name, value) for name, value in each.values.items())
            for each in alone
        )
        yield f"Not pooled, for want of {_name(comparison, comparison.baseline)}: {names}."


def _note_not_shown(comparison: Comparison) -> Iterable[str]:
    if comparison.not_shown:
        more = plural(comparison.not_shown, "more row")
        yield f"Not shown: {more}, for which p is corrected, too."


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
    facts = asdict(comparison)
    return {
        "metric": facts.pop("metric"),
        "higher_is_better": comparison.higher_is_better,
        "baseline": comparison.baseline.configuration,
        "alpha": ALPHA,
        **facts,
        "rows": _select_figures(rows),
        "strata": [
            {"values": stratum.values, "rows": _select_figures(map(_flatten, stratum.rows))}
            for stratum in comparison.strata
        ],
        "conclusion": conclude(comparison),
    }


def _select_figures(rows: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    keys = (*_NAMES, *_SPEC_FIELDS, *_FIGURES, "strata", "jobs")
    return [{key: row[key] for key in keys} for row in rows]
