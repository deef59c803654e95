"""Parses the values of a spec as people write them, in options and in files."""

import math
import re
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from models.errors import UsageError
from models.spec import ExperimentSpec

#: YAML can nest a value a billion times over: an error shows the outside of it.
_SHORT = reprlib.Repr()
_SHORT.maxlevel = 2
_PER_LAYER = {"keep", "dropout", "drop", "hidden"}
_DIGITS = 12  # 1 - 0.1 is 0.9, and not 0.90000000000000002
_MOST_LAYERS = 100
_MOST_SEEDS = 100_000
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
#: The longest time limit; SQL adds it to a time.
LONGEST_SECONDS = 10_000 * 86400


@dataclass(frozen=True)
class FieldValue:
    """One value of a spec's field."""

    field: str
    value: Any
    #: Where it was given, and as what, for an error: "--lr 0.1", "specs.csv row 2: lr 0.1".
    origin: str


@dataclass(frozen=True)
class Range:
    """The numbers from low to high; a single one where these are equal."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.low:g}" if self.is_single else f"{self.low:g}..{self.high:g}"

    @property
    def is_single(self) -> bool:
        """Whether it is one number."""
        return self.low == self.high


def option_name(field: str) -> str:
    """Return the option that gives a spec's field."""
    return "--dropout" if field == "keep" else f"--{field.replace('_', '-')}"


def parse_keep(text: str, source: str = "--dropout") -> FieldValue:
    """Parse keep probabilities: "0.9,0.8,0.8", "0.8x3", "0.8" for every layer, or "none"."""
    rates = () if text == "none" else parse_numbers(text, source, float)
    return FieldValue("keep", rates, f"{source} {text}")


def parse_drop(text: str, source: str = "--drop") -> FieldValue:
    """Parse drop probabilities, the complements of keep probabilities."""
    keep = tuple(round(1 - rate, _DIGITS) for rate in parse_keep(text, source).value)
    return FieldValue("keep", keep, f"{source} {text}")


def parse_hidden(text: str, source: str = "--hidden") -> FieldValue:
    """Parse layers' widths: "512,512,512" or "512x3"."""
    widths = parse_numbers(text, source, int, "512,512,512 or 512x3")
    return FieldValue("hidden", widths, f"{source} {text}")


def parse_numbers(
    text: str,
    source: str,
    kind: Callable[[str], Any],
    example: str = "0.9,0.8,0.8 or 0.8x3, or none",
) -> tuple[Any, ...]:
    """Parse numbers between commas, of which 512x3 is three.

    Raises UsageError, naming their source, for anything else.
    """
    try:
        return tuple(number for part in text.split(",") for number in _parse_part(part, kind))
    except ValueError:
        raise UsageError(
            f"{source} {text:.100}: write a number for each hidden layer, {example}"
        ) from None


def _parse_part(part: str, kind: Callable[[str], Any]) -> tuple[Any, ...]:
    number, times, layers = part.partition("x")
    if times and not (re.fullmatch(r"\d{1,3}", layers) and 0 < int(layers) <= _MOST_LAYERS):
        raise ValueError(part)
    return (kind(number),) * (int(layers) if times else 1)


def parse_seed_range(text: str) -> tuple[int, ...]:
    """Parse a number of seeds, "5" (which is 0..4), or a range of them, "10..19"."""
    found = re.fullmatch(r"(?:(\d{1,18})\.\.)?(\d{1,18})", text)
    if not found:
        raise UsageError(f"{text!r}: write how many (5), or from..to (0..9)")
    low, high = int(found[1] or 0), int(found[2]) + (found[1] is not None)
    if not 0 < high - low <= _MOST_SEEDS:
        why = "holds no seed" if high <= low else f"holds more than {_MOST_SEEDS:,} seeds"
        raise UsageError(f"{text!r} {why}: write how many (5), or from..to (0..9)")
    return tuple(range(low, high))


def parse_range(text: str) -> Range:
    """Parse a range of numbers, "0.4..1", or a single one, "0.8"."""
    low, dots, high = text.partition("..")
    try:
        ends = float(low), float(high if dots else low)
    except ValueError:
        ends = math.nan, math.nan
    if not all(map(math.isfinite, ends)):
        raise UsageError(f"{text[:100]!r}: write a number (0.8), or from..to (0.4..1)")
    if ends[0] > ends[1]:
        raise UsageError(f"{text!r} counts down: write {high}..{low}")
    return Range(*ends)


def parse_duration(text: str) -> float:
    """Parse a time span into seconds: 90, 90s, 30m, 2h, 1d."""
    found = re.fullmatch(r"(\d{1,12}(?:\.\d+)?)([smhd]?)", text)
    seconds = float(found[1]) * _UNITS[found[2]] if found else 0.0
    if not 0 < seconds <= LONGEST_SECONDS:
        raise UsageError(f"{text[:40]!r} is not a duration of at most 10000d: write 90s, 30m or 2h")
    return seconds


def parse_row(row: Mapping[str, Any], source: str) -> list[FieldValue]:
    """Parse the values of one row of a file; `source` names it in errors.

    The names are the spec's fields, or dropout and drop for keep. Values may be text, as a CSV
    has them, or lists and numbers. Raises UsageError for an unknown name.
    """
    given = {name: _strip(value) for name, value in row.items()}
    values = [_parse_field(name, value, source) for name, value in given.items() if value != ""]
    names = [value.field for value in values]
    if repeated := [name for name in names if names.count(name) > 1]:
        raise UsageError(f"{source}: {repeated[0]} is given twice")
    return values


def _strip(value: Any) -> Any:
    return value.strip() if isinstance(value, str) else value


def _parse_field(name: Any, value: Any, source: str) -> FieldValue:
    field = str(name).strip().replace("-", "_")
    if isinstance(value, bool) or _is_nested(value):
        fix = "a number for each hidden layer" if field in _PER_LAYER else "a number or a word"
        raise UsageError(f"{source}: {name} {_SHORT.repr(value)}: write {fix}")
    joined = ",".join(map(str, value)) if isinstance(value, list | tuple) else value
    if field in _PER_LAYER and joined is not None:
        text = "none" if value in ([], ()) else str(joined)
        parse = {"drop": parse_drop, "hidden": parse_hidden}.get(field, parse_keep)
        return parse(text, f"{source}: {name}")
    if field not in ExperimentSpec.model_fields:
        known = ", ".join([*ExperimentSpec.model_fields, "dropout", "drop"])
        raise UsageError(f"{source}: unknown field {str(name)!r}: the fields are {known}")
    return FieldValue(field, value, f"{source}: {name} {joined}")


def _is_nested(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(item, list | dict) for item in value)
