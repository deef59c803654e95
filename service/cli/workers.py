"""`dq workers`: who takes jobs."""

import click

from service.cli.context import open_context
from service.cli.output import format_option, print_message, print_table
from service.queries.workers import list_workers
from service.reports.progress_tables import worker_table
from service.reports.table import Format


@click.command
@format_option
def command(*, format: Format) -> None:
    """List the workers: host, device, current job, last heartbeat."""
    workers = list_workers(open_context().database)
    print_table(worker_table(workers), format)
    if not workers:
        print_message("No worker is running. Type: dq worker")
