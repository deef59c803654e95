"""`dq drain`: have workers end after their current job."""

import click

from service.cli.context import open_context
from service.cli.output import print_message
from service.formatting import plural
from service.jobs import drain


@click.command
@click.argument("worker", required=False)
def command(*, worker: str | None) -> None:
    """Stop one worker, or all, after the current job.

    \b
    dq drain
    dq drain cpu0-3cc4-6681@host
    """
    drained = drain(open_context().database, worker)
    if drained:
        workers = plural(len(drained), "worker")
        print_message(f"{workers} will stop after the current job. See: dq workers")
    else:
        print_message("No worker is running.")
