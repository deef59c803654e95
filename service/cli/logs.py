"""`dq logs`: what happened to jobs."""

import sys
import time
from dataclasses import asdict

import click
from sqlalchemy import ColumnElement

from models.database import Database
from service.cli.context import open_context
from service.cli.output import command_line, format_option, on_ctrl_c, print_table, print_text
from service.cli.parameters import selector_argument
from service.cli.streams import is_ascii_only
from service.formatting import printable
from service.queries.jobs import list_log
from service.queries.progress import measure_progress
from service.queries.rows import LogRow
from service.reports.detail_tables import log_table
from service.reports.table import Format, to_json_line

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
    context = open_context()
    which = context.find_jobs(selectors)
    if not follow:
        print_table(log_table(list_log(context.database, which)), format)
        return
    with on_ctrl_c(f"The jobs go on. Type: {command_line()}"):
        _follow(context.database, which, format)


def _follow(database: Database, which: ColumnElement[bool], format: Format) -> None:
    """Print the lines there are and those to come, until the jobs have ended."""
    last, is_open = 0, True
    while is_open:
        is_open = measure_progress(database, which).open_jobs > 0
        for line in list_log(database, which, after=last):
            last = line.line_id
            print_text(_format_line(line, format))
        time.sleep(_POLL_SECONDS if is_open else 0)


def _format_line(line: LogRow, format: Format) -> str:
    """Write one line of a log that is followed: in JSON, an object a line."""
    if format == "json":
        return to_json_line(asdict(line))
    text = f"{line.at:%Y-%m-%d %H:%M:%S} job {line.job_id} ({line.attempt}) {line.text}"
    return printable(text, ascii=is_ascii_only(sys.stdout))
