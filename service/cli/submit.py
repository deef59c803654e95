"""`dq submit`: queue experiments."""

import uuid
from typing import Any

import click

from models.message import Priority
from models.settings import Settings
from service.cli.output import emit, format_option, say
from service.cli.parameters import Duration
from service.cli.spec_options import read_grid, spec_options, warn_of_low_keep
from service.report import Format


@click.command
@spec_options
@click.option("--name", help="A name for the sweep.")
@click.option("--tag", "tags", multiple=True, help="A word to find the jobs by: tag:WORD.")
@click.option(
    "--priority",
    type=click.Choice([priority.name.lower() for priority in Priority]),
    default="normal",
    help="Which of the waiting jobs go first.",
)
@click.option("--timeout", type=Duration(), help="The most an attempt may take: 30m.")
@click.option(
    "--stall-timeout", type=Duration(), default="10m", help="Fail a job that stands still so long."
)
@click.option(
    "--max-crashes",
    type=click.IntRange(1, 1000),
    default=3,
    help="Fail a job after so many crashes without progress.",
)
@click.option("--keep-checkpoint", is_flag=True, help="Keep the trained weights.")
@click.option("--wait", is_flag=True, help="Wait for the end, and print the results.")
@click.option("--dry-run", is_flag=True, help="Print the jobs, and queue nothing.")
@format_option
def command(
    *,
    name: str | None,
    tags: tuple[str, ...],
    priority: str,
    timeout: float | None,
    stall_timeout: float,
    max_crashes: int,
    keep_checkpoint: bool,
    wait: bool,
    dry_run: bool,
    format: Format,
    **options: Any,
) -> None:
    """Queue experiments: each repeated option is an axis of a grid, repeated over the seeds.

    \b
    dq submit --dropout 0.9,0.8,0.8 --dropout none --hidden 512x3 --seeds 5
    """
    from service.jobs import Order

    grid = read_grid(**options)
    say(str(grid))
    if warning := warn_of_low_keep(options["dropout"]):
        say(warning)
    if dry_run:
        from service.cli.tables import spec_table

        emit(spec_table(grid.specs), format)
        return
    order = Order(
        name=name,
        tags=tags,
        priority=Priority[priority.upper()],
        max_crashes=max_crashes,
        stall_seconds=stall_timeout,
        timeout_seconds=timeout,
        keep_checkpoint=keep_checkpoint,
    )
    _submit(grid.specs, order, wait, format)


def _submit(specs: Any, order: Any, wait: bool, format: Format) -> None:
    from service.broker import Broker
    from service.cli.tables import submitted_table
    from service.jobs import submit
    from service.store import open_database

    settings = Settings.load()
    database = open_database(settings)
    submitted = submit(database, Broker(settings), specs, order, uuid.uuid4().hex)
    if submitted.unsent:
        say(f"Saved but not queued: {submitted.unsent}. Sent as soon as Redis answers.")
    if wait:
        from service.cli.wait import wait_and_report

        wait_and_report(database, submitted.job_ids, None, format)
        return
    emit(submitted_table(submitted), format)
    _say_next(database, submitted.sweep_id)


def _say_next(database: Any, sweep_id: int) -> None:
    from service.queries import list_workers

    if any(worker.is_alive for worker in list_workers(database)):
        say(f"Next: dq wait s{sweep_id}; then dq results --compare s{sweep_id}")
    else:
        say("No worker is running yet. Start one on a host with a GPU (or this one): dq worker")
