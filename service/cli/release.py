"""`dq release`: let held jobs be started."""

import click

from models.settings import Settings
from service.cli.bulk import changing, print_changes, yes_option
from service.cli.output import format_option
from service.cli.parameters import selector_argument
from service.reports.table import Format


@click.command
@selector_argument(required=True)
@yes_option
@format_option
def command(*, selectors: tuple[str, ...], yes: bool, format: Format) -> None:
    """Let held jobs start.

    \b
    dq release tag:later
    """
    from service.jobs import release
    from service.jobs.broker import Broker
    from service.operations.schema import open_database
    from service.queries.selectors import resolve_selectors

    settings = Settings.load()
    database = open_database(settings)
    which = resolve_selectors(database, selectors)
    again = f"dq release {' '.join(selectors)}"
    with changing(database, which, "released", again, yes=yes) as show:
        changes = release(database, Broker(settings), which, show)
    print_changes(changes, format)
