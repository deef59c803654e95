"""`dq cancel`: stop jobs."""

from collections.abc import Sequence
from dataclasses import replace

import click

from models.database import Database
from service.cli.bulk import changing, print_changes, yes_option
from service.cli.context import open_context
from service.cli.output import format_option, print_message
from service.cli.parameters import selector_argument
from service.jobs import Change, cancel
from service.queries.jobs import list_jobs
from service.queries.selectors import ids_condition
from service.queries.watching import follow
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
    context = open_context()
    which = context.find_jobs(selectors)
    with changing(context.database, which, "cancelled", yes=yes) as show:
        changes = cancel(context.database, which, show)
    if any(each.change == "stopping" for each in changes):
        print_message("Waiting for the running ones to stop.")
        changes = _wait(context.database, changes)
    print_changes(changes, format)


def _wait(database: Database, changes: Sequence[Change]) -> list[Change]:
    """Wait for the jobs that are stopping; return the changes with the states they end in."""
    which = ids_condition([each.job_id for each in changes if each.change == "stopping"])
    for _ in follow(database, which, _WAIT_SECONDS):
        pass
    ended = {row.job_id: str(row.state) for row in list_jobs(database, which)}
    return [replace(each, change=ended.get(each.job_id, each.change)) for each in changes]
