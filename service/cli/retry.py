"""`dq retry`: queue jobs again."""

import click

from models.settings import Settings
from service.cli.output import emit, format_option, say
from service.cli.parameters import selector_argument
from service.report import Format


@click.command
@selector_argument(required=True)
@click.option("--from-scratch", is_flag=True, help="Forget what was reached.")
@format_option
def command(*, selectors: tuple[str, ...], from_scratch: bool, format: Format) -> None:
    """Queue failed or cancelled jobs again; they go on from their checkpoint.

    \b
    dq retry state:failed
    """
    from service.broker import Broker
    from service.job_tables import change_table
    from service.jobs import retry
    from service.selection import find
    from service.store import open_database

    settings = Settings.load()
    database = open_database(settings)
    which = find(database, selectors)
    changes = retry(database, Broker(settings), which, from_scratch=from_scratch)
    emit(change_table(changes), format)
    if not changes:
        say("No job is in that state.")
