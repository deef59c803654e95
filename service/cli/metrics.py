"""`dq metrics`: what Prometheus reads."""

import click

from service.cli.context import open_context
from service.cli.output import print_text
from service.operations.metrics import render


@click.command
def command() -> None:
    """Print metrics of the queue, attempts, repairs and GPUs for Prometheus.

    \b
    dq metrics > /var/lib/node_exporter/dq.prom
    """
    print_text(render(open_context().database), newline=False)
