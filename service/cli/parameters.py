"""The kinds of values that options take."""

import re
from collections.abc import Callable
from typing import Any, TypeVar

import click

from models.datasets import DATASETS
from service.selector import GRAMMAR

_Command = TypeVar("_Command", bound=Callable[..., Any])
_MOST_SEEDS = 100_000
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


class Duration(click.ParamType[float]):
    """A time span, as seconds: 90, 90s, 30m, 2h, 1d."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the seconds."""
        if isinstance(value, int | float):
            return float(value)
        found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", value)
        if not found or not float(found[1]):
            self.fail(f"{value!r} is no duration: write 90s, 30m or 2h", param, ctx)
        return float(found[1]) * _UNITS[found[2]]


class Seeds(click.ParamType[tuple[int, ...]]):
    """A number of seeds, 5 (which is 0..4), or a range of them, 10..19."""

    name = "seeds"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """Return the seeds."""
        if isinstance(value, tuple):
            return value
        found = re.fullmatch(r"(?:(\d{1,18})\.\.)?(\d{1,18})", value)
        if not found:
            self.fail(f"{value!r}: write how many (5), or from..to (0..9)", param, ctx)
        low, high = int(found[1] or 0), int(found[2]) + (found[1] is not None)
        if not 0 < high - low <= _MOST_SEEDS:
            why = "holds no seed" if high <= low else f"holds more than {_MOST_SEEDS:,} seeds"
            self.fail(f"{value!r} {why}: write how many (5), or from..to (0..9)", param, ctx)
        return tuple(range(low, high))


class Pack(click.ParamType[str]):
    """How many jobs a worker trains together: auto, off, or at most so many."""

    name = "auto|N|off"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return it as it was typed."""
        if not re.fullmatch(r"auto|off|[1-9]\d{0,3}", str(value)):
            self.fail(f"{value!r}: write auto, off, or at most how many (16)", param, ctx)
        return str(value)


def pack_option(command: _Command) -> _Command:
    """Add --pack."""
    option = click.option(
        "--pack", type=Pack(), help="Jobs of one shape to train together.  [default: auto]"
    )
    return option(command)


def dataset_choice() -> click.Choice[str]:
    """Return the kind of value that names a data set."""
    return click.Choice(tuple(DATASETS))


def selector_argument(*, required: bool) -> Callable[[_Command], _Command]:
    """Return the argument by which a command names jobs."""
    return click.argument(
        "selectors", metavar="SEL...", nargs=-1, required=required, help=f"Which jobs: {GRAMMAR}."
    )
