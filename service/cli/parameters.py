"""The kinds of values that options take."""

import re
from collections.abc import Callable
from typing import Any, TypeVar

import click

from models.datasets import DATASETS
from models.errors import UsageError
from models.settings import PACK
from service.queries.selectors import GRAMMAR
from service.specs.parsing import parse_duration, parse_seed_range

_WHICH_JOBS = f"Which jobs: {GRAMMAR}; or several with commas."
_Command = TypeVar("_Command", bound=Callable[..., Any])


class Whole(click.ParamType[int]):
    """A whole number in a range; help does not show the range, and a refusal does."""

    name = "n"

    def __init__(self, least: int, most: int) -> None:
        """Take numbers from `least` to `most`."""
        self._least, self._most = least, most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number."""
        is_number = re.fullmatch(r"-?\d{1,40}", str(value), re.ASCII)
        if not is_number or not self._least <= int(value) <= self._most:
            kind = f"a whole number from {self._least:,} to {self._most:,}"
            self.fail(f"{str(value)[:40]!r} is not {kind}", param, ctx)
        return int(value)


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
            return parse_duration(value)
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
            return parse_seed_range(value)
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
        "--pack", type=Pack(), help="How many jobs of one shape to train together.  [default: auto]"
    )
    return option(command)


def dataset_choice() -> click.Choice[str]:
    """Return the kind of value that names a data set."""
    return click.Choice(tuple(DATASETS))


def selector_argument(*, required: bool) -> Callable[[_Command], _Command]:
    """Return the argument by which a command names jobs."""
    metavar = "SEL..." if required else "[SEL]..."
    return click.argument(
        "selectors", metavar=metavar, nargs=-1, required=required, help=_WHICH_JOBS
    )


def one_selector_argument(command: _Command) -> _Command:
    """Add the argument by which a command names jobs in one word."""
    return click.argument("selector", metavar="SEL", help=_WHICH_JOBS)(command)
