"""`dq drain`: have workers end after their current job."""

import click

from models.settings import Settings
from service.cli.output import print_message
from service.formatting import plural


@click.command
@click.argument("worker", required=False)
def command(*, worker: str | None) -> None:
    """Stop one worker, or all, after the current job.

    \b
    dq drain
    dq drain cpu0-3cc4-6681@host
    """
    from service.jobs import drain
    from service.operations.schema import open_database

    drained = drain(open_database(Settings.load()), worker)
    if drained:
        print_message(
            f"{plural(len(drained), 'worker')} will stop after the current job. See: dq workers"
        )
    else:
        print_message("No worker is running.")
