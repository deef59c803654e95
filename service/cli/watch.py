"""`dq watch`: how far jobs are, live."""

from typing import TYPE_CHECKING

import click

from models.settings import Settings
from service.cli.output import emit, say
from service.cli.parameters import selector_argument

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement

    from models.database import Database


@click.command
@selector_argument(required=False)
def command(*, selectors: tuple[str, ...]) -> None:
    """Show how far jobs are until they have ended, or until Ctrl-C, which stops no job.

    \b
    dq watch s7
    """
    from service.selector import condition, open_condition
    from service.store import open_database

    database = open_database(Settings.load())
    which = condition(selectors) if selectors else open_condition()
    _watch(database, which)


def _watch(database: "Database", which: "ColumnElement[bool]") -> None:
    from service.cli.progress_view import ProgressView
    from service.job_tables import job_table
    from service.queries import list_ids, list_jobs
    from service.selector import ids_condition
    from service.waiting import wait

    ids = list_ids(database, which)
    if not ids:
        say("No such job is queued or running. Type: dq results")
        return
    which = ids_condition(ids)  # those there are now: others may be submitted meanwhile
    with ProgressView() as view:
        wait(database, which, None, view)
    emit(job_table(list_jobs(database, which, limit=20)), "table")
