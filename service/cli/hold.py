"""`dq hold`: keep queued jobs from being started."""

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
    """Keep queued jobs from starting, until `dq release`.

    \b
    dq hold tag:later
    """
    from service.jobs import hold
    from service.operations.schema import open_database
    from service.queries.selectors import resolve_selectors

    database = open_database(Settings.load())
    which = resolve_selectors(database, selectors)
    with changing(database, which, "held", f"dq hold {' '.join(selectors)}", yes=yes) as show:
        changes = hold(database, which, show)
    print_changes(changes, format)
