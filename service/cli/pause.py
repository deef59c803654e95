"""`dq pause`: keep all workers from taking jobs."""

import click

from service.cli.context import open_context
from service.cli.output import print_message
from service.jobs import pause


@click.command
def command() -> None:
    """Stop all workers from taking jobs, until `dq resume`; running jobs go on."""
    pause(open_context().database)
    print_message("Paused: workers finish their jobs and take no more. Type, to go on: dq resume")
