"""`dq release`: let held jobs be started."""

import click

from models.settings import Settings
from service.cli.output import emit, format_option
from service.cli.parameters import selector_argument
from service.report import Format


@click.command
@selector_argument(required=True)
@format_option
def command(*, selectors: tuple[str, ...], format: Format) -> None:
    """Let held jobs be started.

    \b
    dq release tag:later
    """
    from service.broker import Broker
    from service.job_tables import change_table
    from service.jobs import release
    from service.selector import condition
    from service.store import open_database

    settings = Settings.load()
    changes = release(open_database(settings), Broker(settings), condition(selectors))
    emit(change_table(changes), format, "The jobs are changed.")
