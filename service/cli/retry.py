"""`dq retry`: queue jobs again."""

import click

from service.cli.bulk import changing, print_changes, yes_option
from service.cli.context import open_context
from service.cli.output import format_option
from service.cli.parameters import selector_argument
from service.jobs import retry
from service.reports.table import Format


@click.command
@selector_argument(required=True)
@click.option("--from-scratch", is_flag=True, help="Forget what was reached.")
@yes_option
@format_option
def command(*, selectors: tuple[str, ...], from_scratch: bool, yes: bool, format: Format) -> None:
    """Queue failed or cancelled jobs again; they go on from their checkpoint.

    \b
    dq retry state:failed
    """
    context = open_context()
    which = context.find_jobs(selectors)
    with changing(context.database, which, "queued again", yes=yes) as show:
        changes = retry(
            context.database, context.broker, which, from_scratch=from_scratch, on_progress=show
        )
    print_changes(changes, format)
