"""`dq drain`: have workers end after their current job."""

import click

from models.settings import Settings
from service.cli.output import say
from service.report import count


@click.command
@click.argument("worker", required=False)
def command(*, worker: str | None) -> None:
    """Have one worker, or all, finish the current job, take no more, and end."""
    from service.jobs import drain
    from service.store import open_database

    drained = drain(open_database(Settings.load()), worker)
    say(f"{count(len(drained), 'worker')} told to end after the current job. See: dq workers")
