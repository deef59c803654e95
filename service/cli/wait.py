"""`dq wait`: wait until jobs have ended."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from models.settings import Settings
from service.cli.output import command_line, format_option, on_ctrl_c, print_message, print_table
from service.cli.parameters import Duration, selector_argument
from service.reports.table import Format

if TYPE_CHECKING:
    from models.database import Database


@click.command
@selector_argument(required=True)
@click.option("--timeout", type=Duration(), help="Give up after so long: 30m. Exit code 124.")
@format_option
def command(*, selectors: tuple[str, ...], timeout: float | None, format: Format) -> None:
    """Wait until the jobs have ended; exit with 1 if one failed or was cancelled.

    \b
    dq wait @last --timeout 30m
    """
    from service.operations.schema import open_database
    from service.queries.jobs import list_ids
    from service.queries.selectors import resolve_selectors

    database = open_database(Settings.load())
    job_ids = list_ids(database, resolve_selectors(database, selectors))
    if not job_ids:
        print_message("No job is in that state, so there is nothing to wait for.")
    wait_and_report(database, job_ids, timeout, format, command_line())


def wait_and_report(
    database: "Database",
    job_ids: Sequence[int],
    timeout: float | None,
    format: Format,
    again: str,
) -> None:
    """Wait for the jobs, print them, and exit with 1 unless all succeeded.

    After Ctrl-C it says to type `again`.
    """
    from models.state import JobState
    from service.cli.progress_view import ProgressView
    from service.queries.jobs import list_jobs
    from service.queries.progress import measure_progress
    from service.queries.selectors import ids_condition
    from service.queries.waiting import wait
    from service.queries.workers import list_workers
    from service.reports.job_tables import job_table

    which = ids_condition(job_ids)
    is_open = measure_progress(database, which).open_jobs > 0
    if is_open and not any(worker.is_alive for worker in list_workers(database)):
        print_message("No worker is running. Type, in another terminal: dq worker")
    with on_ctrl_c(f"The jobs go on. Type: {again}"), ProgressView() as show:
        progress = wait(database, which, timeout, show)
    print_table(job_table(list_jobs(database, which)), format)
    if progress.states[JobState.SUCCEEDED] < progress.jobs:
        raise SystemExit(1)
