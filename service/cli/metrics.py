"""`dq metrics`: what Prometheus reads."""

import click

from models.settings import Settings


@click.command
def command() -> None:
    """Print metrics of the queue, attempts, repairs and GPUs for Prometheus.

    \b
    dq metrics > /var/lib/node_exporter/dq.prom
    """
    from service.metrics import render
    from service.store import open_database

    click.echo(render(open_database(Settings.load())), nl=False)
