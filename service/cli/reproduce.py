"""`dq reproduce`: published tables beside our own runs."""

import uuid
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from models.settings import Settings
from models.state import JobState
from service.cli.output import (
    command_line,
    format_option,
    on_ctrl_c,
    print_message,
    print_table,
    print_text,
)
from service.cli.parameters import Seeds
from service.formatting import plural
from service.reports.table import Format

if TYPE_CHECKING:
    from models.database import Database
    from service.specs.grid import Grid


@click.command
@click.argument("name", required=False)
@click.option("--scale", help="A smaller experiment instead, by its name.  [default: full]")
@click.option(
    "--seeds", type=Seeds(), help="How many (5), or which (10..19).  [default: the table's]"
)
@click.option("--no-wait", is_flag=True, help="Submit what is missing, and compare what there is.")
@format_option
def command(
    *,
    name: str | None,
    scale: str | None,
    seeds: tuple[int, ...] | None,
    no_wait: bool,
    format: Format,
) -> None:
    """Run what is missing for a published table, and compare our figures with it.

    \b
    dq reproduce notebook --scale small
    dq reproduce my-table.yaml --seeds 5

    Without a name it lists the tables. Exit code 4: our figures contradict the table; 5: there is
    not enough evidence yet.
    """
    from service.analysis.reproduction import find_scale, judge, list_specs, load_table
    from service.operations.schema import open_database
    from service.queries.jobs import list_compared_jobs
    from service.queries.selectors import ids_condition
    from service.reports.reproduction_tables import claim_table, figure_table, listing_table
    from service.specs.grid import repeat

    if name is None:
        print_table(listing_table(), format)
        return
    table = load_table(name)
    stand_in = find_scale(table, scale)
    grid = repeat(list_specs(table, stand_in), seeds or range(table.seeds))
    database = open_database(Settings.load())
    ids = _run(database, grid, name, no_wait)
    report = judge(table, stand_in, list_compared_jobs(database, ids_condition(ids)))
    print_table(figure_table(report), format)
    if format == "table" and report.claims:
        print_text("")
        print_table(claim_table(report), format)
    report.check()


def _run(database: "Database", grid: "Grid", name: str, no_wait: bool) -> tuple[int, ...]:
    """Submit what is missing, wait for it, and return all the jobs."""
    from service.cli.progress_view import ProgressView
    from service.jobs import SubmitOptions, submit
    from service.jobs.broker import Broker
    from service.queries.estimate import estimate_remaining
    from service.queries.selectors import ids_condition
    from service.queries.waiting import wait
    from service.queries.workers import list_workers

    print_message(str(grid))
    options = SubmitOptions(name=f"reproduce {name}"[:200], tags=("reproduce",), reuse=True)
    broker = Broker(Settings.load())
    submitted = submit(database, broker, grid.specs, options, uuid.uuid4().hex)
    missing = len(submitted.created) + len(submitted.open_before)
    if missing and not no_wait:
        rest = estimate_remaining(database, ids_condition(submitted.job_ids))
        print_message(f"{plural(missing, 'job')} to run. {replace(rest, advice='')}")
        if not any(worker.is_alive for worker in list_workers(database)):
            print_message("No worker is running. Type, in another terminal: dq worker")
        with on_ctrl_c(f"The jobs go on. Type: {command_line()}"), ProgressView() as view:
            progress = wait(database, ids_condition(submitted.job_ids), None, view)
        if failed := progress.states[JobState.FAILED]:
            print_message(
                f"{plural(failed, 'job')} failed and not included. Type: dq results state:failed"
            )
    return submitted.job_ids
