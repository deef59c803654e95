"""Charts the metric against the keep rate: a dot a seed, a line of means for each stratum."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise

from service.analysis.comparison import Comparison, ComparisonRow
from service.analysis.rates import RateLine, find_keep_rate, has_one_rate, list_rate_lines
from service.formatting import format_metric, label, plural, title_metric
from service.reports.plots.chart import (
    FAINT,
    Chart,
    Mark,
    Series,
    Style,
    bound_interval,
    describe_interval,
    find_range,
    list_styles,
    title_axis,
)

#: The lines of a rate are beside each other in this part of the way to the next rate.
_SPREAD = 0.5
#: Seeds are left of their mean, by this part of the way to the next line.
_ASIDE = 0.3


def chart_rates(comparison: Comparison, title: Sequence[str]) -> Chart | None:
    """Chart a comparison by keep rate; None if no stratum has configurations of different rates."""
    lines = list_rate_lines(comparison)
    if not lines:
        return None
    name = title_metric(comparison.metric, comparison.common.get("evaluation", "valid"))
    span = find_range(list(_list_values(comparison.metric, lines)))
    return Chart(
        title=title[0],
        subtitle=title[1],
        note=_describe(lines, span),
        x_title="Keep rate (1 is no dropout)",
        y_title=title_axis(name, comparison.metric),
        series=tuple(_list_series(comparison, lines)),
        y_range=span,
    )


def _describe(lines: Sequence[RateLine], span: tuple[float, float]) -> str:
    """Say what dots, lines and diamonds are, and what is not to be seen."""
    rows = [row for line in lines for row in line.rows]
    is_mixed = any(not has_one_rate(row.spec) for row in rows)
    mixed = "; diamond: layers of different rates, at their mean" if is_mixed else ""
    faint = sum(not line.is_prominent for line in lines)
    others = f"; grey: {faint:,} others" if faint else ""
    outside = sum(not span[0] <= (row.mean or 0.0) <= span[1] for row in rows)
    off = f"; off the scale: {plural(outside, 'mean')}" if outside else ""
    return f"dot: a seed; line: mean over seeds, with its 95 % interval{mixed}{others}{off}"


def _list_values(metric: str, lines: Sequence[RateLine]) -> Iterator[float]:
    for line in lines:
        for row in line.rows:
            yield from row.values.values()
            ends = bound_interval(metric, row.low, row.high)
            yield from (end for end in ends if end is not None)


def _list_series(comparison: Comparison, lines: Sequence[RateLine]) -> Iterator[Series]:
    """Make the series of all lines, those that stand out last and thus on top."""
    styles = iter(list_styles(len(lines)))
    step = _find_step(lines)
    placed = [(line, step * (number - (len(lines) - 1) / 2)) for number, line in enumerate(lines)]
    faint = [each for each in placed if not each[0].is_prominent]
    for number, (line, offset) in enumerate(faint):
        legend = None if number else f"{len(faint):,} others"
        means = _draw_means(comparison, line, line.rows, FAINT, offset)
        yield replace(means, has_markers=False, legend=legend, group="others")
    for line, offset in placed:
        if line.is_prominent:
            style = next(styles)
            yield _draw_seeds(comparison, line, style, offset - _ASIDE * step)
            yield from _draw_line(comparison, line, style, offset)


def _find_step(lines: Sequence[RateLine]) -> float:
    """Return how far lines are moved aside, so that no interval hides another."""
    rates = sorted({find_keep_rate(row.spec) for line in lines for row in line.rows})
    return _SPREAD * min(after - before for before, after in pairwise(rates)) / (1 + len(lines))


def _draw_seeds(comparison: Comparison, line: RateLine, style: Style, offset: float) -> Series:
    return Series(
        marks=tuple(mark for row in line.rows for mark in _mark_seeds(comparison, row, offset)),
        style=replace(style, opacity=0.45),
        has_line=False,
        group=line.label,
    )


def _draw_line(
    comparison: Comparison, line: RateLine, style: Style, offset: float
) -> Iterator[Series]:
    """Draw the means with a line through them, and those of mixed rates without."""
    uniform = [row for row in line.rows if has_one_rate(row.spec)]
    mixed = [row for row in line.rows if not has_one_rate(row.spec)]
    means = _draw_means(comparison, line, uniform, replace(style, size=9), offset)
    yield replace(means, intervals="vertical", legend=line.label or None)
    if mixed:
        diamonds = _draw_means(
            comparison, line, mixed, replace(style, size=11, symbol="diamond"), offset
        )
        yield replace(diamonds, intervals="vertical", has_line=False)


def _draw_means(
    comparison: Comparison,
    line: RateLine,
    rows: Sequence[ComparisonRow],
    style: Style,
    offset: float,
) -> Series:
    marks = tuple(_mark_mean(comparison, row, offset) for row in rows)
    return Series(marks=marks, style=style, group=line.label)


def _mark_mean(comparison: Comparison, row: ComparisonRow, offset: float) -> Mark:
    write, mean = partial(format_metric, comparison.metric), row.mean or 0.0
    return Mark(
        find_keep_rate(row.spec) + offset,
        mean,
        *bound_interval(comparison.metric, row.low, row.high),
        text=(
            _name(comparison, row),
            f"mean {write(mean)} of {plural(row.n, 'seed')}",
            describe_interval(write, row.low, row.high),
        ),
    )


def _mark_seeds(comparison: Comparison, row: ComparisonRow, offset: float) -> Iterator[Mark]:
    x, name = find_keep_rate(row.spec) + offset, _name(comparison, row)
    for (seed, value), job in zip(row.values.items(), row.jobs, strict=True):
        figure = format_metric(comparison.metric, value)
        yield Mark(x, value, text=(name, f"seed {seed}: {figure}", f"job {job}"))


def _name(comparison: Comparison, row: ComparisonRow) -> str:
    return label(row.spec, (*comparison.by, *comparison.varying))
