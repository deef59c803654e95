"""Plots learning curves, a line with its band for each configuration, as PNG, SVG or HTML."""

import html
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from models.errors import UsageError
from models.metrics import EpochMetrics
from service.analysis.curves import LEAST_SEEDS, CurveSet, MeanCurve, average
from service.extras import needing
from service.formatting import plural, unit_of
from service.queries.rows import Curve
from service.reports.output_file import writing_output

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_INK = "#333333"
_GRID = "#dddddd"
_BAND_OPACITY = 0.2
#: Each epoch has a marker if there are at most this many.
_MAX_MARKERS = 30
#: The characters in a line of the legend.
_LEGEND_WIDTH = 100
#: Each epoch has a tick if there are at most this many; plotly would put some between epochs.
_MAX_TICKS = 10

# Okabe and Ito's colours, which the colour-blind tell apart, less yellow, which is faint on white
# (https://jfly.uni-koeln.de/color/). Past seven curves they come again, dashed.
_COLORS = ("#000000", "#E69F00", "#0072B2", "#009E73", "#D55E00", "#56B4E9", "#CC79A7")
_DASHES = ("solid", "dash", "dot", "dashdot")
_MATPLOTLIB_DASHES = {"solid": "-", "dash": "--", "dot": ":", "dashdot": "-."}


@dataclass(frozen=True)
class _Style:
    """The colour and the dashes of a line."""

    color: str
    dash: str

    @property
    def band_color(self) -> str:
        """The colour as CSS, nearly transparent."""
        red, green, blue = bytes.fromhex(self.color[1:])
        return f"rgba({red},{green},{blue},{_BAND_OPACITY})"


def save_plot(curves: Sequence[Curve], metric: str, path: Path) -> None:
    """Plot the mean of each configuration over its seeds by epoch, with a band.

    The HTML page loads nothing else. Raises UsageError as `average` does, and for a suffix other
    than .png, .svg and .html; DqError if the package that draws is missing.
    """
    draw = _DRAWERS.get(path.suffix.lower())
    if draw is None:
        raise UsageError(f"{path}: a plot's name ends in {', '.join(_DRAWERS)}")
    averaged = average(curves, metric)
    with writing_output(path) as part:
        draw(averaged, part)


def draw_figure(
    curves: CurveSet, *, with_runs: bool = False, is_log: bool = False
) -> Mapping[str, Any]:
    """Return the plot as plotly.js takes it: its data and its layout.

    `with_runs` adds a thin line for each seed; `is_log` makes the metric's axis logarithmic.
    """
    traces: list[Mapping[str, Any]] = []
    for curve, style in _style(curves):
        traces += _traces(curve, style, curves.metric)
        if with_runs:
            traces.append(_trace_runs(curve, style, curves.metric))
    return {"data": traces, "layout": _layout(curves, is_log=is_log)}


def draw_run(
    epochs: Sequence[EpochMetrics], kind: Literal["accuracy", "loss"]
) -> Mapping[str, Any] | None:
    """Return one run's accuracies or losses by epoch as plotly.js takes them; None if none."""
    if not epochs:
        return None
    parts = (
        ("valid", "Validation", _Style(_COLORS[2], "solid")),
        ("train", "Last batch in training", _Style(_COLORS[4], "dot")),
    )
    traces = [
        {
            "x": [epoch.epoch for epoch in epochs],
            "y": [getattr(epoch, f"{part}_{kind}") for epoch in epochs],
            "name": title,
            "hovertemplate": "epoch %{x}: %{y:.4f}",
            "mode": _mode(epochs),
            "line": {"color": style.color, "dash": style.dash},
            "marker": {"size": 5},
        }
        for part, title, style in parts
    ]
    title = kind.capitalize()
    layout = _base_layout(title, f"{title} ({unit_of(f'valid_{kind}')})", epochs[-1].epoch)
    return {"data": traces, "layout": layout}


def _draw_with_matplotlib(curves: CurveSet, path: Path, *, format: str) -> None:
    with needing("matplotlib", "plot", f"A plot as .{format}"):
        from matplotlib.figure import Figure
    columns = _count_legend_columns(curves)
    height = 5 + 0.22 * -(-len(curves.curves) // columns)
    figure = Figure(figsize=(8, height), layout="constrained")  # not pyplot: no display, no state
    axes = figure.add_subplot()
    for curve, style in _style(curves):
        _draw_curve(axes, curve, style, is_marked=curves.epochs <= _MAX_MARKERS)
    _format_axes(axes, curves)
    _write_title(axes, curves)
    figure.legend(loc="outside lower center", ncols=columns, frameon=False)
    figure.savefig(path, format=format, dpi=150)


def _draw_curve(axes: "Axes", curve: MeanCurve, style: _Style, *, is_marked: bool) -> None:
    epochs = [point.epoch for point in curve.points]
    axes.fill_between(
        epochs,
        [point.low for point in curve.points],
        [point.high for point in curve.points],
        color=style.color,
        alpha=_BAND_OPACITY,
        linewidth=0,
    )
    axes.plot(
        epochs,
        [point.mean for point in curve.points],
        color=style.color,
        linestyle=_MATPLOTLIB_DASHES[style.dash],
        marker="o" if is_marked else "",
        markersize=3.5,
        label=_name(curve),
    )


def _format_axes(axes: "Axes", curves: CurveSet) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("Epoch")
    axes.set_ylabel(curves.axis)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color=_GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    if curves.is_cut:
        axes.set_ylim(_axis_range(curves))


def _write_title(axes: "Axes", curves: CurveSet) -> None:
    heading, common = curves.title
    axes.set_title(heading, loc="left", fontweight="bold", pad=32)
    axes.annotate(
        f"{common}\n{_describe_lines(curves)}",
        (0, 1),
        (0, 7),
        xycoords="axes fraction",
        textcoords="offset points",
        color=_INK,
        fontsize="small",
    )


def _draw_with_plotly(curves: CurveSet, path: Path) -> None:
    with needing("plotly", "plot", "A plot as .html"):
        from plotly.io import to_html
    page = to_html(
        draw_figure(curves),
        config={"displaylogo": False, "responsive": True, "showSendToCloud": False},
        include_plotlyjs=True,  # the whole script, out of the wheel: the page needs no network
        default_height="95vh",
        validate=False,
    )
    path.write_text(page, encoding="utf-8")


def _traces(curve: MeanCurve, style: _Style, metric: str) -> Iterator[Mapping[str, Any]]:
    """Make the band, which is a polygon, and the line over it; the legend hides both."""
    points = curve.points
    yield {
        "x": [point.epoch for point in (*points, *points[::-1])],
        "y": [*(point.high for point in points), *(point.low for point in points[::-1])],
        "fill": "toself",
        "fillcolor": style.band_color,
        "line": {"width": 0},
        "mode": "lines",
        "hoverinfo": "skip",
        "legendgroup": curve.configuration,
        "showlegend": False,
    }
    yield {
        "x": [point.epoch for point in points],
        "y": [point.mean for point in points],
        "name": html.escape(_name(curve)),
        "text": [plural(point.n, "seed") for point in points],
        "hovertemplate": f"epoch %{{x}}: %{{y:{_hover_format(metric)}}}, %{{text}}",
        "mode": _mode(points),
        "line": {"color": style.color, "dash": style.dash},
        "marker": {"size": 5},
        "legendgroup": curve.configuration,
    }


def _trace_runs(curve: MeanCurve, style: _Style, metric: str) -> Mapping[str, Any]:
    """Make one line of all runs, with a gap after each, which is a None."""
    epochs = [epoch for run in curve.runs for epoch in (*run.epochs, None)]
    names = [
        name
        for run in curve.runs
        for name in (*[f"job {run.job_id}, seed {run.spec.seed}"] * len(run.epochs), None)
    ]
    return {
        "x": [epoch and epoch.epoch for epoch in epochs],
        "y": [epoch and getattr(epoch, metric) for epoch in epochs],
        "text": names,
        "hovertemplate": f"%{{text}}, epoch %{{x}}: %{{y:{_hover_format(metric)}}}<extra></extra>",
        "mode": "lines",
        "line": {"color": style.color, "width": 1},
        "opacity": 0.45,
        "legendgroup": curve.configuration,
        "showlegend": False,
    }


def _layout(curves: CurveSet, *, is_log: bool = False) -> Mapping[str, Any]:
    heading, common, legend = map(html.escape, (*curves.title, _describe_lines(curves)))
    layout = _base_layout(heading, curves.axis, curves.epochs)
    layout["title"]["subtitle"] = {"text": f"{common}<br>{legend}"}
    if is_log:
        layout["yaxis"]["type"] = "log"
    elif curves.is_cut:
        layout["yaxis"]["range"] = list(_axis_range(curves))
    return layout


def _base_layout(title: str, axis_title: str, epochs: int) -> dict[str, Any]:
    """Make the layout that all figures have in common."""
    ticks = {"dtick": 1} if epochs <= _MAX_TICKS else {}
    axis = {"gridcolor": _GRID, "linecolor": _INK, "zeroline": False}
    return {
        "title": {"text": title},
        "margin": {"t": 110},
        "xaxis": {**axis, **ticks, "title": {"text": "Epoch"}},
        "yaxis": {**axis, "title": {"text": axis_title}},
        "font": {"color": _INK, "family": "sans-serif"},
        "plot_bgcolor": "white",
        "hovermode": "closest",
    }


def _mode(points: Sequence[object]) -> str:
    """Mark the epochs where they are few."""
    return "lines+markers" if len(points) <= _MAX_MARKERS else "lines"


def _style(curves: CurveSet) -> Iterator[tuple[MeanCurve, _Style]]:
    styles = cycle([_Style(color, dash) for dash in _DASHES for color in _COLORS])
    return zip(curves.curves, styles, strict=False)


def _name(curve: MeanCurve) -> str:
    return f"{curve.label} (n = {curve.seeds})"


def _count_legend_columns(curves: CurveSet) -> int:
    longest = max(len(_name(curve)) for curve in curves.curves)
    return max(1, min(len(curves.curves), _LEGEND_WIDTH // (longest + 8)))


def _axis_range(curves: CurveSet) -> tuple[float, float]:
    low, high = curves.scale
    return low - 0.05 * (high - low), high


def _describe_lines(curves: CurveSet) -> str:
    """Say what lines and bands are."""
    fewest = min(point.n for curve in curves.curves for point in curve.points)
    few = f" (min to max of fewer than {LEAST_SEEDS} seeds)" if fewest < LEAST_SEEDS else ""
    cut = "; worse than guessing is off the scale" if curves.is_cut else ""
    return f"line: mean over seeds; band: its 95 % interval{few}{cut}"


def _hover_format(metric: str) -> str:
    return ".2f" if metric == "seconds" else ".4f"


_DRAWERS: Mapping[str, Callable[[CurveSet, Path], None]] = {
    ".png": partial(_draw_with_matplotlib, format="png"),
    ".svg": partial(_draw_with_matplotlib, format="svg"),
    ".html": _draw_with_plotly,
}
