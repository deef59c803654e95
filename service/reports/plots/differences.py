"""Charts the differences from the baseline, a row a configuration (a forest plot)."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from service.analysis.comparison import Comparison, ComparisonRow
from service.formatting import format_difference, format_p, label, plural, unit_of
from service.reports.plots.chart import (
    BLUE,
    GREEN,
    GREY,
    VERMILION,
    Chart,
    Mark,
    Series,
    Style,
    Symbol,
    describe_interval,
    find_range,
)

#: Of more rows than this, the best are drawn.
_MAX_ROWS = 60
#: The characters in a line of a row's label.
_LABEL_WIDTH = 28
_NO_BREAK = "\N{NO-BREAK SPACE}"
_COLORS = {"better": GREEN, "worse": VERMILION}
#: The units of differences, by those of the metric.
_UNITS = {"fraction": "Points", "nats": "Nats", "s": "Seconds"}
_UNDECIDED = "undecided"
_UNBOUNDED = "too few seeds for an interval"
_FAR_LEFT, _FAR_RIGHT = "off the scale, lower", "off the scale, higher"
_SYMBOLS: Mapping[str, Symbol] = {
    _UNBOUNDED: "circle-open",
    _FAR_LEFT: "triangle-left",
    _FAR_RIGHT: "triangle-right",
}
#: How far from the edge a mark is that would be over it.
_EDGE = 0.015


def chart_differences(comparison: Comparison, title: Sequence[str]) -> Chart | None:
    """Chart each row's difference from the baseline; None if no row has one."""
    rows = _choose_rows(comparison)
    if not rows:
        return None
    unit = _UNITS[unit_of(comparison.metric)]
    side = "right" if comparison.higher_is_better else "left"
    span = find_range([0.0, *_list_ends(comparison.metric, rows)])
    baseline = label(comparison.baseline.spec, comparison.varying, ", ")
    return Chart(
        title=f"Difference from {baseline}",
        subtitle=title[0],
        note=_describe(comparison, rows),
        x_title=f"{unit}, better to the {side}",
        y_title="",
        series=tuple(_list_series(comparison, rows, span)),
        x_range=span,
        y_range=(len(rows) - 0.4, -0.6),
        rows=tuple(_label(comparison, row) for row in rows),
    )


def _choose_rows(comparison: Comparison) -> list[ComparisonRow]:
    """Return the rows with a difference, in the table's order."""
    rows = [row for row in comparison.rows if row.difference is not None]
    is_falling = comparison.higher_is_better
    ranked = sorted(rows, key=lambda row: row.difference or 0.0, reverse=is_falling)
    best = {row.configuration for row in ranked[:_MAX_ROWS]}
    return [row for row in rows if row.configuration in best]


def _scale(metric: str) -> float:
    """Return what differences are multiplied by: those of accuracies are in points."""
    return 100.0 if metric.endswith("accuracy") else 1.0


def _list_ends(metric: str, rows: Sequence[ComparisonRow]) -> Iterator[float]:
    for row in rows:
        for value in (row.difference, row.difference_low, row.difference_high):
            if value is not None:
                yield _scale(metric) * value


def _describe(comparison: Comparison, rows: Sequence[ComparisonRow]) -> str:
    """Say what points, bars and colours are, and which rows are left out."""
    corrected = f", corrected for {comparison.tests:,} tests" if comparison.tests > 1 else ""
    left_out = sum(row.difference is not None for row in comparison.rows) - len(rows)
    rest = f"; the {left_out:,} worst are left out" if left_out else ""
    return (
        f"point: mean over shared seeds; bar: its 95 % interval; colour: verdict{corrected}{rest}"
    )


def _label(comparison: Comparison, row: ComparisonRow) -> str:
    """Name a row, and say why it has no interval."""
    fields = label(row.spec, comparison.varying, "\n").replace(" ", _NO_BREAK)
    lines = textwrap.wrap(fields, _LABEL_WIDTH, break_long_words=False)
    lines += [row.verdict] if row.difference_low is None else []
    return "\n".join(lines).replace(_NO_BREAK, " ")


def _list_series(
    comparison: Comparison, rows: Sequence[ComparisonRow], span: tuple[float, float]
) -> Iterator[Series]:
    """Make a series for each kind of verdict."""
    marks = [_mark(comparison, row, number) for number, row in enumerate(rows)]
    kinds = [_classify(row, mark, span) for row, mark in zip(rows, marks, strict=True)]
    for kind in dict.fromkeys(kinds):
        chosen = [mark for mark, its in zip(marks, kinds, strict=True) if its == kind]
        yield Series(
            marks=tuple(_move_inside(mark, span) for mark in chosen),
            style=_find_style(kind),
            has_line=False,
            intervals="horizontal",
            legend=kind,
            group=kind,
        )


def _classify(row: ComparisonRow, mark: Mark, span: tuple[float, float]) -> str:
    """Return the kind of a row, as the legend names it."""
    if not span[0] <= mark.x <= span[1]:
        return _FAR_LEFT if mark.x < span[0] else _FAR_RIGHT
    if row.difference_low is None:
        return _UNBOUNDED
    is_decided = row.verdict in _COLORS or row.verdict.startswith("within")
    return row.verdict if is_decided else _UNDECIDED


def _move_inside(mark: Mark, span: tuple[float, float]) -> Mark:
    """Move a mark that is off the scale to its edge."""
    low, high = span
    edge = _EDGE * (high - low)
    if low <= mark.x <= high:
        return mark
    return replace(mark, x=low + edge if mark.x < low else high - edge, low=None, high=None)


def _find_style(kind: str) -> Style:
    if kind in _SYMBOLS:
        return Style(GREY, symbol=_SYMBOLS[kind], size=9)
    return Style(_COLORS.get(kind, GREY if kind == _UNDECIDED else BLUE), size=9)


def _mark(comparison: Comparison, row: ComparisonRow, number: int) -> Mark:
    metric, scale = comparison.metric, _scale(comparison.metric)
    write = partial(format_difference, metric)
    low, high = row.difference_low, row.difference_high
    pooled = f", pooled over {row.strata} strata" if comparison.by else ""
    p = "" if row.p_holm is None else f", p {format_p(row.p_holm)}"
    return Mark(
        scale * (row.difference or 0.0),
        number,
        None if low is None else scale * low,
        None if high is None else scale * high,
        text=(
            row.label,
            f"{write(row.difference or 0.0)} over {plural(row.shared, 'shared seed')}{pooled}",
            describe_interval(write, low, high),
            f"{row.verdict}{p}",
        ),
    )
