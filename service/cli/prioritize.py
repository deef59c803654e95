"""`dq prioritize`: change which queued jobs start first."""

import click

from models.message import Priority
from service.cli.bulk import changing, print_changes, yes_option
from service.cli.context import open_context
from service.cli.output import format_option
from service.cli.parameters import selector_argument
from service.jobs import prioritize
from service.reports.table import Format


@click.command
@selector_argument(required=True)
@click.argument("priority", type=click.Choice([priority.name.lower() for priority in Priority]))
@yes_option
@format_option
def command(*, selectors: tuple[str, ...], priority: str, yes: bool, format: Format) -> None:
    """Change which queued jobs start first: high before normal before low.

    \b
    dq prioritize s7 high
    """
    context = open_context()
    which = context.find_jobs(selectors)
    with changing(context.database, which, f"given {priority} priority", yes=yes) as show:
        changes = prioritize(context.database, which, Priority[priority.upper()], show)
    print_changes(changes, format)
