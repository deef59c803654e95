"""Learning curves as sparklines in a table."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from service.analysis.curves import CurveSet, MeanCurve, Point, average
from service.formatting import format_metric
from service.queries.rows import Curve
from service.reports.table import Column, Table

_BLOCKS = "▁▂▃▄▅▆▇█"
_ASCII_BLOCKS = "_.-=^"
_MAX_CELLS = 40
_FIELDS = (
    *("configuration", "label", "n", "n_last", "epochs"),
    *("first", "best", "best_epoch", "last", "means"),
)


def curve_table(curves: Sequence[Curve], metric: str, *, ascii: bool = False) -> Table:
    """Make a table of learning curves, a row a configuration, all drawn on one scale.

    `ascii` draws with ASCII, for a terminal that has no blocks.
    """
    averaged = average(curves, metric)
    blocks = _ASCII_BLOCKS if ascii else _BLOCKS
    return Table(
        columns=_columns(metric),
        rows=[_row(averaged, curve, blocks) for curve in averaged.curves],
        title=averaged.title,
        footnotes=(_note_scale(averaged, blocks), *averaged.notes),
        fields=_FIELDS,
    )


def draw_sparkline(
    points: Iterable[Point], epochs: int, scale: tuple[float, float], blocks: str
) -> str:
    """Draw means as a line of blocks, each an epoch, or the mean of several if there are many."""
    width = min(epochs, _MAX_CELLS)
    cells: list[list[float]] = [[] for _ in range(width)]
    for point in points:
        cells[(point.epoch - 1) * width // epochs].append(point.mean)
    drawn = [_pick_block(statistics.fmean(cell), scale, blocks) if cell else " " for cell in cells]
    return "".join(drawn).rstrip()


def _pick_block(value: float, scale: tuple[float, float], blocks: str) -> str:
    low, high = scale
    share = (min(value, high) - low) / (high - low) if high > low else 0.5
    return blocks[min(int(share * len(blocks)), len(blocks) - 1)]


def _columns(metric: str) -> tuple[Column, ...]:
    figure = partial(format_metric, metric)
    return (
        Column("label", "configuration"),
        Column("seeds", "seeds", align="right", priority=60),
        Column("first", "first", figure, "right", 40),
        Column("best_at", "best (epoch)", lambda best: f"{figure(best[0])} ({best[1]})", "right"),
        Column("last", "last", figure, "right", 80),
        Column("curve", "curve"),
    )


def _row(averaged: CurveSet, curve: MeanCurve, blocks: str) -> Mapping[str, Any]:
    best = curve.find_best(averaged.metric)
    return {
        "configuration": curve.configuration,
        "label": curve.label,
        "n": curve.n,
        "n_last": curve.last.n,
        "epochs": curve.last.epoch,
        "first": curve.points[0].mean,
        "best": best.mean,
        "best_epoch": best.epoch,
        "last": curve.last.mean,
        "means": [point.mean for point in curve.points],
        "seeds": curve.seeds,
        "best_at": (best.mean, best.epoch),
        "curve": draw_sparkline(curve.points, averaged.epochs, averaged.scale, blocks),
    }


def _note_scale(averaged: CurveSet, blocks: str) -> str:
    low, high = (format_metric(averaged.metric, end) for end in averaged.scale)
    each = averaged.epochs / min(averaged.epochs, _MAX_CELLS)
    span = "1 epoch" if each == 1 else f"{each:.3g} epochs"
    cut = " A loss above that of guessing is drawn as that." if averaged.is_cut else ""
    return (
        f"All curves are on one scale, {blocks[0]} {low} to {blocks[-1]} {high}; "
        f"a character is {span}.{cut}"
    )
