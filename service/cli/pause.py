"""`dq pause`: keep all workers from taking jobs."""

import click

from models.settings import Settings
from service.cli.output import print_message


@click.command
def command() -> None:
    """Stop all workers from taking jobs, until `dq resume`; running jobs go on."""
    from service.jobs import pause
    from service.operations.schema import open_database

    pause(open_database(Settings.load()))
    print_message("Paused: workers finish their jobs and take no more. Type, to go on: dq resume")
