"""Shows a comparison as a table: what differs, each figure's uncertainty, and a conclusion."""

import itertools
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

from models.spec import ExperimentSpec
from service.analysis.comparison import Comparison, ComparisonRow, describe_common
from service.analysis.statistics import ALPHA
from service.formatting import (
    format_difference,
    format_field,
    format_interval,
    format_metric,
    format_p,
    join_words,
    title_metric,
    unit_of,
)
from service.reports.comparison_notes import (
    conclude,
    describe_strata,
    format_strata,
    list_notes,
)
from service.reports.table import Column, Table

_STYLES = {"better": "green", "worse": "red"}
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
        footnotes=tuple(list_notes(comparison, selector)),
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
        count = partial(format_strata, comparison.baseline.strata)
        yield Column("strata", "strata", count, "right", 95, factors_out=True)
    yield from _mean_columns(comparison.metric, comparison.rows)
    if len(comparison.rows) > 1:
        yield from _difference_columns(comparison.metric)
        if comparison.by:
            yield _strata_range_column(comparison.metric)
        yield Column("p_holm", "p", format_p, "right", 80)
    yield Column("verdict", "verdict", fold=14, style=lambda verdict: _STYLES.get(verdict, ""))


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
    strata = describe_strata(comparison, comparison.baseline)
    return *lines, f"Means over {strata}, by {join_words(comparison.by, 'and')}"


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
