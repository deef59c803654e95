"""`dq cancel`: stop jobs."""

import click

from models.settings import Settings
from service.cli.bulk import changing, print_changes, yes_option
from service.cli.output import format_option, print_message
from service.cli.parameters import selector_argument
from service.reports.table import Format

#: A running job's process is off it within the worker's grace period, or its lease.
_WAIT_SECONDS = 60.0


@click.command
@selector_argument(required=True)
@yes_option
@format_option
def command(*, selectors: tuple[str, ...], yes: bool, format: Format) -> None:
    """Cancel queued jobs at once, and running ones as soon as their process is off them.

    \b
    dq cancel s7
    """
    from dataclasses import replace

    from service.jobs import cancel
    from service.operations.schema import open_database
    from service.queries.jobs import list_jobs
    from service.queries.selectors import ids_condition, resolve_selectors
    from service.queries.waiting import wait

    database = open_database(Settings.load())
    which, again = resolve_selectors(database, selectors), f"dq cancel {' '.join(selectors)}"
    with changing(database, which, "cancelled", again, yes=yes) as show:
        changes = cancel(database, which, show)
    stopping = [change.job_id for change in changes if change.change == "stopping"]
    if stopping:
        print_message("Waiting for the running ones to stop.")
        wait(database, ids_condition(stopping), _WAIT_SECONDS, lambda _: None)
        ended = {row.job_id: str(row.state) for row in list_jobs(database, ids_condition(stopping))}
        changes = [replace(each, change=ended.get(each.job_id, each.change)) for each in changes]
    print_changes(changes, format)
