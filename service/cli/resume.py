"""`dq resume`: let workers take jobs again."""

import click

from models.settings import Settings
from service.cli.bulk import BulkProgress
from service.cli.output import print_message


@click.command
def command() -> None:
    """Let workers take jobs again after `dq pause`."""
    from service.jobs import resume
    from service.jobs.broker import Broker
    from service.operations.schema import open_database

    settings = Settings.load()
    with BulkProgress("sent to the queue again") as show:
        try:
            unsent = resume(open_database(settings), Broker(settings), show)
        except KeyboardInterrupt:
            show.stop()
            print_message("Resumed. A worker sends the messages that were not sent.")
            raise SystemExit(130) from None
    print_message(f"Resumed. Messages are sent later: {unsent}" if unsent else "Resumed.")
