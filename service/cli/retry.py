"""`dq retry`: queue jobs again."""

import click

from models.settings import Settings
from service.cli.bulk import changing, print_changes, yes_option
from service.cli.output import format_option
from service.cli.parameters import selector_argument
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
    from service.jobs import retry
    from service.jobs.broker import Broker
    from service.operations.schema import open_database
    from service.queries.selectors import resolve_selectors

    settings = Settings.load()
    database = open_database(settings)
    which = resolve_selectors(database, selectors)
    again = f"dq retry {' '.join(selectors)}{' --from-scratch' * from_scratch}"
    with changing(database, which, "queued again", again, yes=yes) as show:
        broker = Broker(settings)
        changes = retry(database, broker, which, from_scratch=from_scratch, on_progress=show)
    print_changes(changes, format)
