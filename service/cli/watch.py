"""`dq watch`: how far jobs are, live."""

from typing import TYPE_CHECKING

import click

from models.settings import Settings
from service.cli.output import command_line, on_ctrl_c, print_message
from service.cli.parameters import selector_argument
from service.formatting import plural

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement

    from models.database import Database
    from service.queries.rows import Progress


@click.command
@selector_argument(required=False)
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object per line at each change."
)
def command(*, selectors: tuple[str, ...], as_json: bool) -> None:
    """Show the progress of jobs until they have ended, or until Ctrl-C, which stops no job.

    A terminal shows a table of the running jobs, with the time left of each and of all; a pipe or
    a file gets a line now and then. Without SEL these are all queued and running jobs.

    \b
    dq watch s7
    """
    from service.operations.schema import open_database
    from service.queries.jobs import list_ids
    from service.queries.selectors import ids_condition, open_condition, resolve_selectors

    database = open_database(Settings.load())
    ids = list_ids(
        database, resolve_selectors(database, selectors) if selectors else open_condition()
    )
    if not ids:
        print_message(
            f"No job is {'in that state' if selectors else 'queued or running'}. Type: dq results"
        )
        return
    with on_ctrl_c(f"The jobs go on. Type: {command_line()}"):
        # Those there are now: others may be submitted meanwhile.
        progress = _watch(database, ids_condition(ids), as_json)
    _say_end(progress, " ".join(selectors))


def _watch(database: "Database", which: "ColumnElement[bool]", as_json: bool) -> "Progress":
    """Show looks until all jobs have ended; return the last."""
    from service.cli.watch_view import open_view
    from service.queries.watching import watch

    with open_view(as_json=as_json) as show:
        for look in watch(database, which):
            show(look)
    return look.progress


def _say_end(progress: "Progress", selector: str) -> None:
    from models.state import JobState

    if failed := progress.states[JobState.FAILED]:
        print_message(
            f"{plural(failed, 'job')} failed. Type: dq results {selector or 'state:failed'}"
        )
    print_message(f"Next: dq results --compare {selector}".rstrip())
