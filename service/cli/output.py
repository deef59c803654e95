"""What commands print: data on standard output, words on standard error."""

import os
import shutil
import sys
from collections.abc import Callable, Sequence
from typing import Any

import click

from service.report import Column, Format, Table, clean, render

_FORMATS = ("table", "json", "csv", "md")


def format_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--format table|json|csv|md` and `--json` to a command, as its parameter `format`."""
    as_json = click.option("--json", "format", flag_value="json", help="Short for --format json.")
    chosen = click.option(
        "--format", type=click.Choice(_FORMATS), default="table", help="How to print the data."
    )
    return chosen(as_json(function))


def emit(table: Table, format: Format) -> None:
    """Print a table in a format, as wide as the terminal; in a pipe, with all there is."""
    encoding = (sys.stdout.encoding or "ascii").lower()
    is_terminal = sys.stdout.isatty()
    text = render(
        table,
        format,
        width=shutil.get_terminal_size().columns if is_terminal else _width_of_pipe(),
        color=is_terminal and not os.environ.get("NO_COLOR"),
        ascii=not encoding.startswith("utf"),
    )
    # A file takes CSV as it is; a terminal would obey what somebody wrote into a note.
    if format == "csv" and is_terminal:
        text = "\n".join(clean(line) for line in text.split("\n"))
    click.echo(text)


def say(text: str) -> None:
    """Print words for a person, on standard error."""
    for line in text.splitlines() or [""]:
        click.echo(clean(line, ascii=is_plain(sys.stderr)), err=True)


def pairs(facts: dict[str, Any], title: Sequence[str] = ()) -> Table:
    """Make a table of two columns that is one object in JSON."""
    rows = [{"name": name, "value": value} for name, value in facts.items()]
    columns = (Column("name", ""), Column("value", ""))
    return Table(columns, rows, title=tuple(title), json_value=facts)


def is_plain(stream: Any) -> bool:
    """Whether a stream takes ASCII alone."""
    return not (stream.encoding or "ascii").lower().startswith("utf")


def _width_of_pipe() -> int | None:
    """Return what a person asked for, or None, which is no limit."""
    columns = os.environ.get("COLUMNS", "")
    return int(columns) if columns.isdecimal() and int(columns) else None
