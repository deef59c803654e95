"""Charts learning curves: a line with its band for each configuration, or one run."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Literal

from models.metrics import EpochMetrics
from service.analysis.curves import CurveSet, MeanCurve, Point
from service.formatting import format_metric, plural
from service.reports.plots.chart import (
    BLUE,
    FAINT,
    GAP,
    VERMILION,
    Chart,
    Mark,
    Series,
    Style,
    bound_interval,
    describe_interval,
    list_styles,
    title_axis,
)

#: Each epoch has a marker if there are at most this many.
_MAX_MARKERS = 30
_PADDING = 0.05
#: Bands may reach this far over the range of the means, in parts of it; more is cut.
_BAND_REACH = 0.5


def chart_curves(curves: CurveSet, *, with_runs: bool = False, is_log: bool = False) -> Chart:
    """Chart the mean of each configuration over its seeds by epoch, with a band.

    `with_runs` adds a thin line for each seed, which configurations of too few seeds for a band
    have in any case; `is_log` makes the metric's axis logarithmic.
    """
    heading, common = curves.title
    return Chart(
        title=heading,
        subtitle=common,
        note=_describe(curves),
        x_title="Epoch",
        y_title=curves.axis,
        series=tuple(_list_series(curves, with_runs=with_runs)),
        y_range=None if is_log and not curves.is_cut else _find_range(curves),
        epochs=curves.epochs,
        is_log=is_log,
    )


def chart_run(epochs: Sequence[EpochMetrics], kind: Literal["accuracy", "loss"]) -> Chart | None:
    """Chart one run's accuracies or losses by epoch; None if it has none."""
    if not epochs:
        return None
    parts = (
        ("valid", "Validation", Style(BLUE)),
        ("train", "Last batch in training", Style(VERMILION, "dot")),
    )
    title = kind.capitalize()
    return Chart(
        title=title,
        subtitle="",
        note="",
        x_title="Epoch",
        y_title=title_axis(title, f"valid_{kind}"),
        series=tuple(
            Series(
                marks=tuple(_mark_epoch(each, f"{part}_{kind}") for each in epochs),
                style=style,
                title=name,
                has_markers=len(epochs) <= _MAX_MARKERS,
                legend=name,
            )
            for part, name, style in parts
        ),
        epochs=epochs[-1].epoch,
    )


def _list_series(curves: CurveSet, *, with_runs: bool) -> Iterator[Series]:
    """Make the series of all curves, those that stand out last and thus on top."""
    prominent = curves.prominent
    faint = [curve for curve in curves.curves if curve not in prominent]
    for curve in faint:
        legend = f"{len(faint):,} others" if curve is faint[0] else None
        line = _draw_mean(curves.metric, curve, FAINT)
        yield replace(line, has_markers=False, legend=legend, group="others")
    for curve, style in zip(prominent, list_styles(len(prominent)), strict=True):
        line = _draw_mean(curves.metric, curve, style)
        yield replace(line, intervals="band", legend=f"{curve.label} (n = {curve.seeds})")
        if with_runs or _has_few_seeds(curve):
            yield _draw_runs(curves.metric, curve, style)


def _has_few_seeds(curve: MeanCurve) -> bool:
    """Whether a curve has several seeds, but too few for a band."""
    return len(curve.runs) > 1 and not curve.has_interval


def _draw_mean(metric: str, curve: MeanCurve, style: Style) -> Series:
    return Series(
        marks=tuple(_mark_mean(metric, point) for point in curve.points),
        style=style,
        title=curve.label,
        has_markers=len(curve.points) <= _MAX_MARKERS,
        group=curve.configuration,
    )


def _draw_runs(metric: str, curve: MeanCurve, style: Style) -> Series:
    """Make one series of all runs, with a gap after each."""
    marks = [
        mark
        for run in curve.runs
        for mark in (
            *(
                _mark_epoch(epoch, metric, f"seed {run.spec.seed}, job {run.job_id}")
                for epoch in run.epochs
            ),
            GAP,
        )
    ]
    thin = replace(style, dash="solid", width=1.0, opacity=0.45)
    return Series(
        marks=tuple(marks),
        style=thin,
        title=curve.label,
        has_markers=False,
        group=curve.configuration,
    )


def _mark_mean(metric: str, point: Point) -> Mark:
    write = partial(format_metric, metric)
    return Mark(
        point.epoch,
        point.mean,
        *bound_interval(metric, point.low, point.high),
        text=(
            f"epoch {point.epoch}: {write(point.mean)}",
            describe_interval(write, point.low, point.high),
            plural(point.n, "seed"),
        ),
    )


def _mark_epoch(epoch: EpochMetrics, metric: str, *text: str) -> Mark:
    value = getattr(epoch, metric)
    return Mark(
        epoch.epoch, value, text=(*text, f"epoch {epoch.epoch}: {format_metric(metric, value)}")
    )


def _find_range(curves: CurveSet) -> tuple[float, float]:
    """Return the range of the means, and of the bands as far as they may reach over it."""
    points = [point for curve in curves.prominent for point in curve.points]
    means = [point.mean for point in points]
    low, high = min(means), min(max(means), curves.scale[1])
    reach = _BAND_REACH * (high - low)
    lows = [point.low for point in points if point.low is not None]
    highs = [point.high for point in points if point.high is not None]
    bottom, top = max(min([low, *lows]), low - reach), min(max([high, *highs]), high + reach)
    padding = _PADDING * (top - bottom) or 1.0
    return bottom - padding, high if curves.is_cut else top + padding


def _describe(curves: CurveSet) -> str:
    """Say what lines and bands are."""
    few = any(map(_has_few_seeds, curves.prominent))
    thin = "; thin: single seeds, where too few for an interval" if few else ""
    faint = len(curves.curves) - len(curves.prominent)
    others = f"; grey: the {faint:,} others" if faint else ""
    cut = "; worse than guessing is off the scale" if curves.is_cut else ""
    return f"line: mean over seeds; band: its 95 % interval{thin}{others}{cut}"
