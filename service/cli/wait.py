"""`dq wait`: wait until jobs have ended."""

import click
from sqlalchemy import ColumnElement

from models.database import Database
from models.state import JobState
from service.cli.context import open_context
from service.cli.output import (
    command_line,
    format_option,
    on_ctrl_c,
    print_message,
    print_table,
)
from service.cli.parameters import DURATION, selector_argument
from service.cli.progress_views import open_bars
from service.queries.jobs import list_ids, list_jobs
from service.queries.rows import Progress
from service.queries.selectors import ids_condition
from service.queries.watching import find_obstacle, follow
from service.reports.job_tables import job_table
from service.reports.table import Format


@click.command
@selector_argument(required=True)
@click.option("--timeout", type=DURATION, help="Give up after so long: 30m. Exit code 124.")
@format_option
def command(*, selectors: tuple[str, ...], timeout: float | None, format: Format) -> None:
    """Wait until the jobs have ended; exit with 1 if one failed or was cancelled.

    \b
    dq wait @last --timeout 30m
    """
    context = open_context()
    job_ids = list_ids(context.database, context.find_jobs(selectors))
    if not job_ids:
        print_message("No job is in that state, so there is nothing to wait for.")
    which = ids_condition(job_ids)
    progress = wait(context.database, which, command_line(), timeout)
    print_ended(context.database, which, progress, format)


def wait(
    database: Database, which: ColumnElement[bool], again: str, timeout: float | None = None
) -> Progress:
    """Show on standard error how far the jobs are until they have ended.

    After Ctrl-C it says to type `again`.
    """
    is_first = True
    with on_ctrl_c(f"The jobs go on. Type: {again}"), open_bars() as show:
        for progress in follow(database, which, timeout):
            if is_first and (obstacle := find_obstacle(database, progress)):
                print_message(obstacle)
            is_first = False
            show(progress)
    return progress


def print_ended(
    database: Database, which: ColumnElement[bool], progress: Progress, format: Format
) -> None:
    """Print the jobs, and exit with 1 unless all succeeded."""
    print_table(job_table(list_jobs(database, which)), format)
    if progress.states[JobState.SUCCEEDED] < progress.jobs:
        raise SystemExit(1)
