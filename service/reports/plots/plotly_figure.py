"""Draws charts by plotly.js: figures for the page, and pages that need no network."""

import html
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from service.extras import needing
from service.reports.plots.chart import Chart, Mark, Series, Style

_INK = "#333333"
_GRID = "#dddddd"
_BAND_OPACITY = 0.15
#: Each epoch has a tick if there are at most this many; plotly would put some between epochs.
_MAX_TICKS = 10
#: In pixels: a row, a line of its label, and what is around all rows.
_ROW, _LINE, _AROUND_ROWS = 12, 16, 120
_LEAST_HEIGHT = 320


def draw_figure(chart: Chart) -> Mapping[str, Any]:
    """Return a chart as plotly.js takes it: its data and its layout."""
    traces = [trace for series in chart.series for trace in _list_traces(series)]
    return {"data": traces, "layout": _lay_out(chart)}


def save_page(charts: Sequence[Chart], path: Path) -> None:
    """Save charts as one HTML page, which loads nothing else."""
    with needing("plotly", "plot", "A plot as .html"):
        from plotly.io import to_html
    parts = [
        to_html(
            draw_figure(chart),
            config={"displaylogo": False, "responsive": True, "showSendToCloud": False},
            include_plotlyjs=not number,  # the whole script, out of the wheel, once
            full_html=False,
            default_height="95vh" if len(charts) == 1 else "70vh",
            validate=False,
        )
        for number, chart in enumerate(charts)
    ]
    title = html.escape(charts[0].title)
    head = f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
    path.write_text(f"{head}</head><body>{''.join(parts)}</body></html>", encoding="utf-8")


def _list_traces(series: Series) -> Iterator[Mapping[str, Any]]:
    """Make the band, which is a polygon, and the marks over it; the legend hides both."""
    if series.intervals == "band":
        yield from _trace_band(series)
    style, marks = series.style, series.marks
    yield {
        "x": [mark.x for mark in marks],
        "y": [mark.y for mark in marks],
        "text": [_write_tooltip(series.title, mark) for mark in marks],
        "hovertemplate": "%{text}<extra></extra>",
        "mode": "+".join(["lines"] * series.has_line + ["markers"] * series.has_markers),
        "line": {"color": style.color, "dash": style.dash, "width": style.width},
        "marker": {"color": style.color, "size": style.size, "symbol": style.symbol},
        "opacity": style.opacity,
        "legendgroup": series.group,
        "showlegend": bool(series.legend),
        **({"name": html.escape(series.legend)} if series.legend else {}),
        **_draw_bars(series),
    }


def _trace_band(series: Series) -> Iterator[Mapping[str, Any]]:
    ends = [(mark.x, mark.low, mark.high) for mark in series.marks if mark.low is not None]
    if ends:
        yield {
            "x": [x for x, _, _ in (*ends, *ends[::-1])],
            "y": [*(high for _, _, high in ends), *(low for _, low, _ in ends[::-1])],
            "fill": "toself",
            "fillcolor": _fade(series.style),
            "line": {"width": 0},
            "mode": "lines",
            "hoverinfo": "skip",
            "legendgroup": series.group,
            "showlegend": False,
        }


def _fade(style: Style) -> str:
    """Return the colour as CSS, nearly transparent."""
    red, green, blue = bytes.fromhex(style.color[1:])
    return f"rgba({red},{green},{blue},{_BAND_OPACITY})"


def _draw_bars(series: Series) -> Mapping[str, Any]:
    """Return the intervals as error bars, whose lengths plotly takes."""
    has_any = any(mark.low is not None for mark in series.marks)
    if series.intervals not in {"vertical", "horizontal"} or not has_any:
        return {}
    is_vertical = series.intervals == "vertical"
    values = [mark.y if is_vertical else mark.x for mark in series.marks]
    pairs = list(zip(series.marks, values, strict=True))
    bars = {
        "type": "data",
        "symmetric": False,
        "array": [0 if mark.high is None else mark.high - value for mark, value in pairs],
        "arrayminus": [0 if mark.low is None else value - mark.low for mark, value in pairs],
        "color": series.style.color,
        "thickness": 1.5,
        "width": 4,
    }
    return {"error_y" if is_vertical else "error_x": bars}


def _write_tooltip(title: str, mark: Mark) -> str:
    """Write a mark's tooltip, the first line in bold."""
    first, *rest = map(html.escape, ([title] if title else []) + [*mark.text] or [""])
    return "<br>".join([f"<b>{first}</b>", *rest])


def _lay_out(chart: Chart) -> Mapping[str, Any]:
    axis = {"gridcolor": _GRID, "linecolor": _INK, "zeroline": False}
    is_few = chart.epochs is not None and chart.epochs <= _MAX_TICKS
    layout: dict[str, Any] = {
        "title": {
            "text": html.escape(chart.title),
            "subtitle": {"text": "<br>".join(map(html.escape, (chart.subtitle, chart.note)))},
        },
        "margin": {"t": 110},
        "xaxis": {
            **axis,
            "title": {"text": html.escape(chart.x_title)},
            **({"dtick": 1} if is_few else {}),
            **({} if chart.epochs is None else {"tickformat": "d"}),
        },
        "yaxis": {**axis, "title": {"text": html.escape(chart.y_title)}},
        "font": {"color": _INK, "family": "sans-serif"},
        "plot_bgcolor": "white",
        "hovermode": "closest",
        "hoverlabel": {"align": "left"},
    }
    _set_ranges(layout, chart)
    if chart.rows:
        _lay_out_rows(layout, chart)
    return layout


def _set_ranges(layout: dict[str, Any], chart: Chart) -> None:
    """Set the ranges that are given: null would break a resize."""
    if chart.is_log:
        layout["yaxis"]["type"] = "log"
    elif chart.y_range:
        layout["yaxis"]["range"] = list(chart.y_range)
    if chart.x_range:
        layout["xaxis"]["range"] = list(chart.x_range)


def _lay_out_rows(layout: dict[str, Any], chart: Chart) -> None:
    """Label the rows, and mark zero."""
    labels = [html.escape(label).replace("\n", "<br>") for label in chart.rows]
    layout["yaxis"] |= {"tickvals": [*range(len(labels))], "ticktext": labels, "automargin": True}
    layout["xaxis"] |= {"zeroline": True, "zerolinecolor": _INK, "zerolinewidth": 1.5}
    height = _AROUND_ROWS + _ROW * len(labels) + _LINE * chart.row_lines
    layout["height"] = max(_LEAST_HEIGHT, height)
