"""Prints what commands answer: data on standard output, messages on standard error."""

import os
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from models.errors import OutputFailed
from service.cli.streams import can_color, end_line, is_ascii_only
from service.formatting import printable
from service.reports.table import Column, Format, Table, render

_FORMATS = ("table", "json", "csv", "md")


def format_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--format table|json|csv|md` and `--json` to a command, as its parameter `format`."""
    as_json = click.option("--json", "format", flag_value="json", help="Short for --format json.")
    chosen = click.option(
        "--format", type=click.Choice(_FORMATS), default="table", help="How to print the data."
    )
    return chosen(as_json(function))


def print_table(table: Table, format: Format, done: str = "") -> None:
    """Print a table in a format, as wide as the terminal; in a pipe, with all its columns.

    `done` is what to say if the table cannot be printed: what the command has changed.
    """
    is_terminal, ascii = sys.stdout.isatty(), is_ascii_only(sys.stdout)
    text = render(
        table,
        format,
        width=shutil.get_terminal_size().columns if is_terminal else _width_of_pipe(),
        color=can_color(sys.stdout),
        ascii=ascii,
    )
    # A file takes CSV as it is; a terminal would obey escape sequences in a note.
    if format == "csv" and is_terminal:
        text = "\n".join(printable(line, ascii) for line in text.split("\n"))
    try:
        print_text(text)
    except (OutputFailed, BrokenPipeError):
        print_message(done)
        raise


def print_text(text: str, *, newline: bool = True) -> None:
    """Print data; raise OutputFailed if standard output does not take it."""
    try:
        click.echo(text, nl=newline)
    except UnicodeEncodeError as error:
        raise OutputFailed(
            f"Standard output is {error.encoding}, which has no {error.object[error.start]!r}. "
            "Type, before that command: export PYTHONIOENCODING=utf-8"
        ) from error


def print_message(text: str) -> None:
    """Print a message for a person, on standard error."""
    for line in text.splitlines():
        click.echo(printable(line, ascii=is_ascii_only(sys.stderr)), err=True)


@contextmanager
def on_ctrl_c(text: str) -> Iterator[None]:
    """Have Ctrl-C end the command with a message, and exit code 130."""
    try:
        yield
    except KeyboardInterrupt:
        end_line()
        print_message(text)
        raise SystemExit(130) from None


def command_line() -> str:
    """Return the command as a person may type it again."""
    return shlex.join(["dq", *sys.argv[1:]])


def field_table(fields: dict[str, Any]) -> Table:
    """Make a table of two columns that is one object in JSON."""
    rows = [{"name": name, "value": value} for name, value in fields.items()]
    columns = (Column("name", ""), Column("value", ""))
    return Table(columns, rows, json_value=fields)


def _width_of_pipe() -> int | None:
    """Return the width that a person asked for, or None, which is no limit."""
    columns = os.environ.get("COLUMNS", "")
    return int(columns) if columns.isdecimal() and int(columns) else None
