"""`dq metrics`: what Prometheus reads."""

import click

from models.settings import Settings
from service.cli.output import print_text


@click.command
def command() -> None:
    """Print metrics of the queue, attempts, repairs and GPUs for Prometheus.

    \b
    dq metrics > /var/lib/node_exporter/dq.prom
    """
    from service.operations.metrics import render
    from service.operations.schema import open_database

    print_text(render(open_database(Settings.load())), newline=False)
