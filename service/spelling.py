"""Reads the values of a spec as people type them, in options and in files."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from models.errors import UsageError
from models.spec import ExperimentSpec

_DIGITS = 12  # 1 - 0.1 is 0.9, and not 0.90000000000000002
_MOST_LAYERS = 100


@dataclass(frozen=True)
class Value:
    """One value of a spec's field, and how it was typed, for the error that may name it."""

    field: str
    value: Any
    typed: str


def read_keep(typed: str, source: str = "--dropout") -> Value:
    """Read keep probabilities: "0.9,0.8,0.8" or "none"."""
    rates = () if typed == "none" else read_numbers(typed, source, float)
    return Value("keep", rates, f"{source} {typed}")


def read_drop(typed: str, source: str = "--drop") -> Value:
    """Read the complements of keep probabilities."""
    rates = () if typed == "none" else read_numbers(typed, source, float)
    return Value("keep", tuple(round(1 - rate, _DIGITS) for rate in rates), f"{source} {typed}")


def read_hidden(typed: str, source: str = "--hidden") -> Value:
    """Read layers' widths: "512,512,512" or "512x3"."""
    width, times, layers = typed.partition("x")
    if times and width.isdecimal() and layers.isdecimal() and 0 < int(layers) <= _MOST_LAYERS:
        return Value("hidden", (int(width),) * int(layers), f"{source} {typed}")
    widths = read_numbers(typed, source, int, "512,512,512 or 512x3")
    return Value("hidden", widths, f"{source} {typed}")


def read_numbers(
    typed: str, source: str, kind: Callable[[str], Any], example: str = "0.9,0.8,0.8 or none"
) -> tuple[Any, ...]:
    """Read numbers between commas; raise UsageError, naming their source, for anything else."""
    try:
        return tuple(kind(part) for part in typed.split(","))
    except ValueError:
        raise UsageError(f"{source} {typed}: write a number a hidden layer, {example}") from None


def read_row(row: Mapping[str, Any], source: str) -> list[Value]:
    """Read the values of one row of a file; `source` names it in errors.

    The names are the spec's fields, or dropout and drop for keep. Values may be text, as a CSV
    has them, or lists and numbers. Raises UsageError for an unknown name.
    """
    return [_read_field(str(name), value, source) for name, value in row.items() if value != ""]


def _read_field(name: str, value: Any, source: str) -> Value:
    field = name.strip().replace("-", "_")
    listed = ",".join(map(str, value)) if isinstance(value, list | tuple) else value
    typed = f"{source}: {name} {listed}"
    if field in {"keep", "dropout", "drop", "hidden"} and listed is not None:
        words = "none" if value in ([], ()) else str(listed)
        read = {"drop": read_drop, "hidden": read_hidden}.get(field, read_keep)
        return read(words, f"{source}: {name}")
    if field not in ExperimentSpec.model_fields:
        known = ", ".join([*ExperimentSpec.model_fields, "dropout", "drop"])
        raise UsageError(f"{source}: unknown field {name!r}: the fields are {known}")
    return Value(field, value, typed)
