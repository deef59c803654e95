"""`dq metrics`: what Prometheus reads."""

import click

from service.cli.context import open_context
from service.cli.output import print_text
from service.extras import needing


@click.command
def command() -> None:
    """Print metrics of the queue, attempts, repairs and GPUs for Prometheus.

    \b
    dq metrics > /var/lib/node_exporter/dq.prom
    """
    with needing("prometheus-client", "web", "This"):
        from service.operations.metrics import render  # noqa: PLC0415 - needs an extra

    print_text(render(open_context().database), newline=False)
