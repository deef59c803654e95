"""`dq logs`: what happened to jobs."""

import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from models.settings import Settings
from service.cli.output import command_line, format_option, on_ctrl_c, print_table, print_text
from service.cli.parameters import selector_argument
from service.cli.streams import is_plain
from service.formatting import printable
from service.reports.table import Format, to_json_line

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement

    from models.database import Database
    from service.queries.rows import LogRow

_POLL_SECONDS = 0.5


@click.command
@selector_argument(required=True)
@click.option("-f", "--follow", is_flag=True, help="Go on printing until the jobs have ended.")
@format_option
def command(*, selectors: tuple[str, ...], follow: bool, format: Format) -> None:
    """Print what happened to jobs, oldest first; tracebacks are in `dq show`.

    \b
    dq logs 142 -f
    """
    from service.operations.schema import open_database
    from service.queries.jobs import list_log
    from service.queries.selectors import resolve_selectors
    from service.reports.job_tables import log_table

    database = open_database(Settings.load())
    which = resolve_selectors(database, selectors)
    if not follow:
        print_table(log_table(list_log(database, which)), format)
        return
    with on_ctrl_c(f"The jobs go on. Type: {command_line()}"):
        _follow(database, which, format)


def _follow(database: "Database", which: "ColumnElement[bool]", format: Format) -> None:
    """Print the lines there are and those to come, until the jobs have ended."""
    from service.queries.jobs import list_log
    from service.queries.progress import measure_progress

    last, is_open = 0, True
    while is_open:
        is_open = measure_progress(database, which).open_jobs > 0
        for line in list_log(database, which, after=last):
            last = line.line_id
            print_text(_spell(line, format))
        time.sleep(_POLL_SECONDS if is_open else 0)


def _spell(line: "LogRow", format: Format) -> str:
    """Write one line of a log that is followed: in JSON, an object a line."""
    if format == "json":
        return to_json_line(asdict(line))
    text = f"{line.at:%Y-%m-%d %H:%M:%S} job {line.job_id} ({line.attempt}) {line.text}"
    return printable(text, ascii=is_plain(sys.stdout))
