"""The kinds of values that options take."""

import re
from collections.abc import Callable
from typing import Any, TypeVar

import click

from models.datasets import DATASETS
from models.errors import UsageError
from models.settings import PACK
from service.selector import GRAMMAR
from service.spelling import read_duration, read_seed_range

_Command = TypeVar("_Command", bound=Callable[..., Any])


class Whole(click.IntRange):
    """A whole number in a range, which Click calls an integer range."""

    name = "whole number"


#: What SQL counts with: from 1 to the largest of its integers, of ids as of rows.
COUNT = Whole(1, 2**31 - 1)


class Duration(click.ParamType[float]):
    """A time span, as seconds: 90, 90s, 30m, 2h, 1d."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the seconds."""
        if isinstance(value, int | float):
            return float(value)
        try:
            return read_duration(value)
        except UsageError as error:
            self.fail(str(error), param, ctx)


class Seeds(click.ParamType[tuple[int, ...]]):
    """A number of seeds, 5 (which is 0..4), or a range of them, 10..19."""

    name = "seeds"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """Return the seeds."""
        if isinstance(value, tuple):
            return value
        try:
            return read_seed_range(value)
        except UsageError as error:
            self.fail(str(error), param, ctx)


class Gpus(click.ParamType[tuple[int, ...]]):
    """Numbers of GPUs, each once: 0,1."""

    name = "gpus"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """Return the numbers."""
        if isinstance(value, tuple):
            return value
        if not re.fullmatch(r"\d{1,4}(,\d{1,4})*", value):
            self.fail(
                f"{value!r}: write the numbers of GPUs, as nvidia-smi has them: 0,1", param, ctx
            )
        numbers = tuple(int(number) for number in value.split(","))
        if len(set(numbers)) < len(numbers):
            self.fail(f"{value!r} names a GPU twice", param, ctx)
        return numbers


class Pack(click.ParamType[str]):
    """How many jobs a worker trains together: auto, off, or at most so many."""

    name = "auto|N|off"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return it as it was typed."""
        if not re.fullmatch(PACK, str(value)):
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
