"""Charts as data: what is drawn, by matplotlib or by plotly."""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from service.formatting import format_interval, unit_of

# Okabe and Ito's colours, which the colour-blind tell apart, less yellow, which is faint on white
# (https://jfly.uni-koeln.de/color/).
BLACK, ORANGE, BLUE, GREEN, VERMILION, SKY, PURPLE = (
    *("#000000", "#E69F00", "#0072B2", "#009E73", "#D55E00", "#56B4E9", "#CC79A7"),
)
#: Tells on white and on black.
GREY = "#7F8896"
_COLORS = (BLACK, ORANGE, BLUE, GREEN, VERMILION, SKY, PURPLE)
#: Past the last colour, the first comes again, dashed.
_DASHES = ("solid", "dash")
#: A value is off the scale if it is this many interquartile ranges out (Tukey 1977: "far out").
_FAR_OUT = 3
_PADDING = 0.06

Symbol = Literal["circle", "circle-open", "diamond", "triangle-left", "triangle-right"]


@dataclass(frozen=True)
class Style:
    """How a series looks."""

    color: str
    dash: str = "solid"
    width: float = 2.0
    opacity: float = 1.0
    symbol: Symbol = "circle"
    size: int = 5


@dataclass(frozen=True)
class Mark:
    """A point of a series, with the 95 % interval of its value if there is one."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None
    #: What a tooltip says of it, line by line.
    text: tuple[str, ...] = ()


#: How the lines look that do not stand out.
FAINT = Style(GREY, width=1.0, opacity=0.5, size=3)
#: Ends a part of a line.
GAP = Mark(float("nan"), float("nan"))


@dataclass(frozen=True)
class Series:
    """Marks of one style."""

    marks: tuple[Mark, ...]
    style: Style
    #: The first line of all its tooltips.
    title: str = ""
    has_line: bool = True
    has_markers: bool = True
    #: How the intervals are drawn.
    intervals: Literal["band", "vertical", "horizontal"] | None = None
    #: Its name in the legend, which leaves out a series without one.
    legend: str | None = None
    #: The legend hides the series of a group together.
    group: str = ""


@dataclass(frozen=True)
class Chart:
    """Some series on two axes."""

    title: str
    #: What all series have in common.
    subtitle: str
    #: What lines, points and colours are, and what is not to be seen.
    note: str
    x_title: str
    y_title: str
    series: tuple[Series, ...]
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None
    #: The labels of the rows, where y counts rows from the top.
    rows: tuple[str, ...] = ()
    #: The last epoch, where x counts epochs.
    epochs: int | None = None
    is_log: bool = False

    @property
    def legend(self) -> list[str]:
        """The names in the legend."""
        return [series.legend for series in self.series if series.legend]

    @property
    def row_lines(self) -> int:
        """The lines of text that all its row labels take, each as many as the longest."""
        return len(self.rows) * max((label.count("\n") + 1 for label in self.rows), default=0)


def list_styles(number: int) -> list[Style]:
    """Return styles, of up to eight lines, that differ in colour and dashes."""
    styles = (Style(color, dash) for dash in _DASHES for color in _COLORS)
    return list(islice(styles, number))


def find_range(values: Sequence[float]) -> tuple[float, float]:
    """Return the range of two values or more, without those that are far out."""
    first, _, third = statistics.quantiles(values, n=4, method="inclusive")
    reach = _FAR_OUT * (third - first)
    near = [value for value in values if first - reach <= value <= third + reach]
    low, high = min(near), max(near)
    padding = _PADDING * (high - low) or abs(high) / 100 or 1.0
    return low - padding, high + padding


def title_axis(name: str, metric: str) -> str:
    """Return the title of a metric's axis."""
    return f"{name} ({unit_of(metric)})"


def bound_interval(
    metric: str, low: float | None, high: float | None
) -> tuple[float | None, float | None]:
    """Cut an interval to be drawn: no metric, and thus no mean, is below 0, no accuracy above 1."""
    most = 1.0 if metric.endswith("accuracy") else math.inf
    return (None if low is None else max(0.0, low)), (None if high is None else min(most, high))


def describe_interval(write: Callable[[float], str], low: float | None, high: float | None) -> str:
    """Write an interval for a tooltip."""
    if low is None or high is None:
        return "too few seeds for an interval"
    return f"95 % interval {format_interval(write, (low, high))}"
