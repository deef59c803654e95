"""`dq resume`: let workers take jobs again."""

import click

from models.settings import Settings
from service.cli.output import say


@click.command
def command() -> None:
    """Let workers take jobs again after `dq pause`."""
    from service.broker import Broker
    from service.jobs import resume
    from service.store import open_database

    settings = Settings.load()
    unsent = resume(open_database(settings), Broker(settings))
    say(f"Resumed. Messages are sent later: {unsent}" if unsent else "Resumed.")
