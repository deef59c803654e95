"""`dq release`: let held jobs start."""

import click

from service.cli.bulk import changing, print_changes, yes_option
from service.cli.context import open_context
from service.cli.output import format_option
from service.cli.parameters import selector_argument
from service.jobs import release
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
    context = open_context()
    which = context.find_jobs(selectors)
    with changing(context.database, which, "released", yes=yes) as show:
        changes = release(context.database, context.broker, which, show)
    print_changes(changes, format)
