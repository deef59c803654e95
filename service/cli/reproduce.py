"""`dq reproduce`: published tables beside our own runs."""

import uuid
from collections.abc import Sequence
from dataclasses import replace

import click

from models.state import JobState
from service.analysis.reproduction import find_scale, judge, list_specs, load_table
from service.cli.context import Context, open_context
from service.cli.output import (
    command_line,
    format_option,
    print_message,
    print_table,
    print_text,
)
from service.cli.parameters import SEEDS
from service.cli.wait import wait
from service.formatting import plural
from service.jobs import SubmitOptions, submit
from service.queries.estimate import estimate_remaining
from service.queries.jobs import list_compared_jobs
from service.queries.selectors import ids_condition
from service.reports.reproduction_tables import claim_table, figure_table, listing_table
from service.reports.table import Format
from service.specs.grid import Grid, repeat


@click.command
@click.argument("name", required=False)
@click.option("--scale", help="A smaller experiment instead, by its name.  [default: full]")
@click.option(
    "--seeds", type=SEEDS, help="How many (5), or which (10..19).  [default: the table's]"
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
    if name is None:
        print_table(listing_table(), format)
        return
    table = load_table(name)
    stand_in = find_scale(table, scale)
    grid = repeat(list_specs(table, stand_in), seeds or range(table.seeds))
    context = open_context()
    job_ids = _run(context, grid, name, wait_for_all=not no_wait)
    jobs = list_compared_jobs(context.database, ids_condition(job_ids))
    report = judge(table, stand_in, jobs)
    print_table(figure_table(report), format)
    if format == "table" and report.claims:
        print_text("")
        print_table(claim_table(report), format)
    report.check()


def _run(context: Context, grid: Grid, name: str, *, wait_for_all: bool) -> Sequence[int]:
    """Submit what is missing, wait for it, and return the ids of all jobs."""
    print_message(str(grid))
    options = SubmitOptions(
        context.settings.owner, name=f"reproduce {name}"[:200], tags=("reproduce",), reuse=True
    )
    submitted = submit(context.database, context.broker, grid.specs, options, uuid.uuid4().hex)
    missing = len(submitted.created) + len(submitted.open_before)
    if missing and wait_for_all:
        which = ids_condition(submitted.job_ids)
        rest = replace(estimate_remaining(context.database, which), advice="")
        print_message(f"{plural(missing, 'job')} to run. {rest}")
        progress = wait(context.database, which, command_line())
        if failed := progress.states[JobState.FAILED]:
            jobs = plural(failed, "job")
            print_message(f"{jobs} failed and not included. Type: dq results state:failed")
    return submitted.job_ids
