"""`dq hold`: keep queued jobs from being started."""

import click

from models.settings import Settings
from service.cli.output import emit, format_option, say
from service.cli.parameters import selector_argument
from service.report import Format


@click.command
@selector_argument(required=True)
@format_option
def command(*, selectors: tuple[str, ...], format: Format) -> None:
    """Keep queued jobs from starting, until `dq release`.

    \b
    dq hold tag:later
    """
    from service.job_tables import change_table
    from service.jobs import hold
    from service.selection import find
    from service.store import open_database

    database = open_database(Settings.load())
    changes = hold(database, find(database, selectors))
    emit(change_table(changes), format)
    if not changes:
        say("No job is in that state.")
