"""`dq release`: let held jobs be started."""

import click

from models.settings import Settings
from service.cli.output import emit, format_option, say
from service.cli.parameters import selector_argument
from service.report import Format


@click.command
@selector_argument(required=True)
@format_option
def command(*, selectors: tuple[str, ...], format: Format) -> None:
    """Let held jobs start.

    \b
    dq release tag:later
    """
    from service.broker import Broker
    from service.job_tables import change_table
    from service.jobs import release
    from service.selection import find
    from service.store import open_database

    settings = Settings.load()
    database = open_database(settings)
    changes = release(database, Broker(settings), find(database, selectors))
    emit(change_table(changes), format)
    if not changes:
        say("No job is in that state.")
