"""`dq metrics`: what Prometheus reads."""

import click

from models.settings import Settings
from service.cli.output import write


@click.command
def command() -> None:
    """Print metrics of the queue, attempts, repairs and GPUs for Prometheus.

    \b
    dq metrics > /var/lib/node_exporter/dq.prom
    """
    from service.operations.metrics import render
    from service.operations.schema import open_database

    write(render(open_database(Settings.load())), newline=False)
