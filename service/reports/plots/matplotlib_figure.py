"""Draws charts by matplotlib, as PNG and SVG."""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from service.extras import needing
from service.reports.plots.chart import Chart, Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

_INK = "#333333"
_GRID = "#dddddd"
_BAND_OPACITY = 0.15
_DASHES = {"solid": "-", "dash": "--", "dot": ":"}
_MARKERS = {
    "circle": "o",
    "circle-open": "o",
    "diamond": "D",
    "triangle-left": "<",
    "triangle-right": ">",
}
#: The characters in a line of the legend.
_LEGEND_WIDTH = 100
#: The characters in a line of the note below a title, and its height in points.
_NOTE_WIDTH, _NOTE_LINE = 105, 12
#: In inches.
_WIDTH, _HEIGHT, _LEGEND_LINE, _ROW_LINE, _AROUND_ROWS = 8.0, 5.0, 0.22, 0.2, 1.9
#: Markers are smaller here, in points, than in pixels.
_MARKER_SCALE = 0.7


def save_picture(charts: Sequence[Chart], path: Path, *, format: str) -> None:
    """Save charts as one picture, one below the other."""
    with needing("matplotlib", "plot", f"A plot as .{format}"):
        from matplotlib.figure import Figure
    heights = [_find_height(chart) for chart in charts]
    # Not pyplot: no display, no state.
    figure = Figure(figsize=(_WIDTH, sum(heights)), layout="constrained")
    parts = figure.subfigures(len(charts), 1, squeeze=False, height_ratios=heights)
    for part, chart in zip(parts.flat, charts, strict=True):
        _draw(part, chart)
    figure.savefig(path, format=format, dpi=150)


def _find_height(chart: Chart) -> float:
    legend = _LEGEND_LINE * -(-len(chart.legend) // _count_legend_columns(chart))
    if chart.rows:
        return legend + _AROUND_ROWS + _ROW_LINE * (chart.row_lines + 0.3 * len(chart.rows))
    return legend + _HEIGHT


def _count_legend_columns(chart: Chart) -> int:
    longest = max(map(len, chart.legend), default=0)
    return max(1, min(len(chart.legend), _LEGEND_WIDTH // (longest + 8)))


def _draw(figure: "SubFigure", chart: Chart) -> None:
    axes = figure.add_subplot()
    for series in chart.series:
        _draw_series(axes, series)
    _format_axes(axes, chart)
    _write_title(axes, chart)
    if chart.legend:
        figure.legend(loc="outside lower center", ncols=_count_legend_columns(chart), frameon=False)


def _draw_series(axes: "Axes", series: Series) -> None:
    style, marks = series.style, series.marks
    if series.intervals == "band":
        _draw_band(axes, series)
    elif series.intervals:
        _draw_bars(axes, series)
    axes.plot(
        [mark.x for mark in marks],
        [mark.y for mark in marks],
        color=style.color,
        linestyle=_DASHES[style.dash] if series.has_line else "",
        linewidth=style.width * 0.75,
        marker=_MARKERS[style.symbol] if series.has_markers else "",
        markersize=style.size * _MARKER_SCALE,
        markerfacecolor="white" if style.symbol == "circle-open" else style.color,
        alpha=style.opacity,
        label=series.legend or "_",  # matplotlib's sign to leave it out
    )


def _draw_band(axes: "Axes", series: Series) -> None:
    known = [mark for mark in series.marks if mark.low is not None]
    axes.fill_between(
        [mark.x for mark in known],
        [mark.low or 0.0 for mark in known],
        [mark.high or 0.0 for mark in known],
        color=series.style.color,
        alpha=_BAND_OPACITY,
        linewidth=0,
    )


def _draw_bars(axes: "Axes", series: Series) -> None:
    is_vertical = series.intervals == "vertical"
    for mark in series.marks:
        if mark.low is not None and mark.high is not None:
            ends = [mark.low, mark.high]
            xs, ys = ([mark.x] * 2, ends) if is_vertical else (ends, [mark.y] * 2)
            marker = "_" if is_vertical else "|"
            axes.plot(xs, ys, color=series.style.color, linewidth=1.1, marker=marker, markersize=5)


def _format_axes(axes: "Axes", chart: Chart) -> None:
    axes.set_xlabel(chart.x_title)
    axes.set_ylabel(chart.y_title)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color=_GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    if chart.epochs is not None:
        axes.locator_params(axis="x", integer=True)
    if chart.x_range:
        axes.set_xlim(chart.x_range)
    if chart.y_range:
        axes.set_ylim(chart.y_range)
    if chart.rows:
        axes.set_yticks(range(len(chart.rows)), chart.rows, fontsize="small")
        axes.axvline(0, color=_INK, linewidth=1)


def _write_title(axes: "Axes", chart: Chart) -> None:
    lines = [chart.subtitle, *textwrap.wrap(chart.note, _NOTE_WIDTH)]
    pad = 8 + _NOTE_LINE * len(lines)
    axes.set_title(chart.title, loc="left", fontweight="bold", pad=pad)
    axes.annotate(
        "\n".join(lines),
        (0, 1),
        (0, 7),
        xycoords="axes fraction",
        textcoords="offset points",
        color=_INK,
        fontsize="small",
    )
