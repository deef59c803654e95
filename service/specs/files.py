"""Parses files of specs: JSON (a list, or an object a line), CSV with a header, or a YAML list."""

import csv
import io
import json
import reprlib
from collections.abc import Iterator
from typing import Any

import yaml

from models.errors import UsageError
from service.specs.parsing import FieldValue, parse_row


def parse_rows(text: str, name: str) -> list[list[FieldValue]]:
    """Return the values of each row of a file; raise UsageError, naming the row at fault.

    The ending of the name gives the format; for a name without one, such as "-", the first
    character of the text does.
    """
    text = text.removeprefix("\ufeff").lstrip("\r\n")
    rows = [
        parse_row(row, f"{name} row {number}") for number, row in enumerate(_parse(text, name), 1)
    ]
    if not rows:
        raise UsageError(f"{name} holds no specs: give JSON objects, CSV, or a YAML list")
    return rows


def _parse(text: str, name: str) -> Iterator[dict[str, Any]]:
    try:
        for row in _PARSERS[_guess_format(text, name)](text):
            if not isinstance(row, dict):
                raise UsageError(
                    f"{name}: {reprlib.repr(row)} is not an object of field names and values"
                )
            yield row
    except (ValueError, RecursionError, csv.Error) as error:
        raise UsageError(f"{name} cannot be read: {error}") from error


def _guess_format(text: str, name: str) -> str:
    ending = name.rpartition(".")[2].lower()
    if ending in _PARSERS:
        return ending
    begin = text.lstrip()[:1]
    return {"{": "jsonl", "[": "json", "-": "yaml"}.get(begin, "csv")


def _parse_json(text: str) -> Iterator[Any]:
    rows = json.loads(text)
    return iter(rows if isinstance(rows, list) else [rows])


def _parse_jsonl(text: str) -> Iterator[Any]:
    return (json.loads(line) for line in text.splitlines() if line.strip())


def _parse_csv(text: str) -> Iterator[Any]:
    reader = csv.DictReader(io.StringIO(text), strict=True)
    if len(set(reader.fieldnames or ())) < len(reader.fieldnames or ()):
        raise ValueError("row 1 gives a field twice")
    for number, row in enumerate(reader, 1):
        if None in row or None in row.values():
            raise ValueError(f"row {number} has more or fewer cells than the header")
        yield row


def _parse_yaml(text: str) -> Iterator[Any]:
    try:
        rows = yaml.safe_load(text)
    # PyYAML lets the errors of its constructors through: `!!bool perhaps` is a KeyError.
    except (yaml.YAMLError, LookupError, AttributeError) as error:
        raise ValueError(str(error)) from error
    return iter(rows if isinstance(rows, list) else [rows] if rows else [])


_PARSERS = {
    "json": _parse_json,
    "jsonl": _parse_jsonl,
    "csv": _parse_csv,
    "yaml": _parse_yaml,
    "yml": _parse_yaml,
}
