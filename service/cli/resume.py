"""`dq resume`: let workers take jobs again."""

import click

from service.cli.bulk import BulkProgress
from service.cli.context import open_context
from service.cli.output import print_message
from service.jobs import resume


@click.command
def command() -> None:
    """Let workers take jobs again after `dq pause`."""
    context = open_context()
    with BulkProgress("sent to the queue again") as show:
        try:
            unsent = resume(context.database, context.broker, show)
        except KeyboardInterrupt:
            show.stop()
            print_message("Resumed. A worker sends the messages that were not sent.")
            raise SystemExit(130) from None
    print_message(f"Resumed. Messages are sent later: {unsent}" if unsent else "Resumed.")
