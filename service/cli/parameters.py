"""The kinds of values that options and arguments take."""

import re
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import click
from click.core import ParameterSource

from models.datasets import DATASETS
from models.errors import UsageError
from models.settings import PACK
from service.queries.selectors import GRAMMAR
from service.specs.parsing import parse_duration, parse_range, parse_seed_range

_WHICH_JOBS = f"Which jobs: {GRAMMAR}; or several with commas."
_Command = TypeVar("_Command", bound=Callable[..., Any])
_Value = TypeVar("_Value")


class Parsed(click.ParamType[_Value], Generic[_Value]):
    """The values that a function reads; it raises UsageError for what it does not take."""

    def __init__(self, name: str, read: Callable[[str], _Value]) -> None:
        self.name = name
        self._read = read

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> _Value:
        """Return the value of what was typed; a default is a value already."""
        try:
            return self._read(value) if isinstance(value, str) else value
        except UsageError as error:
            self.fail(str(error), param, ctx)


def whole_number(least: int, most: int) -> Parsed[int]:
    """Return the kind of a whole number; help does not show its range, and a refusal does."""

    def read(typed: str) -> int:
        is_number = re.fullmatch(r"-?\d{1,40}", typed, re.ASCII)
        if not is_number or not least <= int(typed) <= most:
            kind = f"a whole number from {least:,} to {most:,}"
            raise UsageError(f"{typed[:40]!r} is not {kind}")
        return int(typed)

    return Parsed("n", read)


def read_gpus(typed: str) -> tuple[int, ...]:
    """Read numbers of GPUs, each once: 0,1."""
    if not re.fullmatch(r"\d{1,4}(,\d{1,4})*", typed):
        raise UsageError(f"{typed!r}: write the numbers of GPUs, as nvidia-smi has them: 0,1")
    numbers = tuple(int(number) for number in typed.split(","))
    if len(set(numbers)) < len(numbers):
        raise UsageError(f"{typed!r} names a GPU twice")
    return numbers


def read_pack(typed: str) -> str:
    """Check how many jobs a worker trains together: auto, off, or at most how many."""
    if not re.fullmatch(PACK, typed):
        raise UsageError(f"{typed!r}: write auto, off, or at most how many (16)")
    return typed


#: An id, or a number of rows: from 1 to the largest integer of SQL.
COUNT = whole_number(1, 2**31 - 1)
DATASET = click.Choice(tuple(DATASETS))
#: In seconds: 90, 90s, 30m, 2h, 1d.
DURATION = Parsed("duration", parse_duration)
GPUS = Parsed("gpus", read_gpus)
#: A range of numbers, 0.4..1, or a single one.
RANGE = Parsed("from..to", parse_range)
#: A number of seeds, 5 (which is 0..4), or a range of them, 10..19.
SEEDS = Parsed("seeds", parse_seed_range)

pack_option = click.option(
    "--pack",
    type=Parsed("auto|N|off", read_pack),
    help="How many jobs of one shape to train together.  [default: auto]",
)
workers_option = click.option(
    "--workers", type=click.IntRange(1, 256), help="On the CPU: how many at once."
)


def selector_argument(*, required: bool) -> Callable[[_Command], _Command]:
    """Return the argument by which a command names jobs."""
    metavar = "SEL..." if required else "[SEL]..."
    return click.argument(
        "selectors", metavar=metavar, nargs=-1, required=required, help=_WHICH_JOBS
    )


#: The argument by which a command names jobs in one word.
one_selector_argument = click.argument("selector", metavar="SEL", help=_WHICH_JOBS)


def is_given(option: str) -> bool:
    """Whether a person gave an option of the command that runs."""
    source = click.get_current_context().get_parameter_source(option)
    return source is not ParameterSource.DEFAULT
