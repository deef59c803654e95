"""`dq hold`: keep queued jobs from starting."""

import click

from service.cli.bulk import changing, print_changes, yes_option
from service.cli.context import open_context
from service.cli.output import format_option
from service.cli.parameters import selector_argument
from service.jobs import hold
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
    context = open_context()
    which = context.find_jobs(selectors)
    with changing(context.database, which, "held", yes=yes) as show:
        changes = hold(context.database, which, show)
    print_changes(changes, format)
