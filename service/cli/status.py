"""`dq status`: the queue as it is now."""

from dataclasses import asdict, replace

import click

from models.state import JobState
from service.cli.context import open_context
from service.cli.output import format_option, print_message, print_table
from service.formatting import plural
from service.queries.estimate import estimate_remaining
from service.queries.jobs import count_states, list_jobs
from service.queries.owners import list_owners
from service.queries.selectors import open_condition, parse_selectors
from service.queries.workers import is_paused, list_workers
from service.reports.job_tables import job_table
from service.reports.progress_tables import owner_table
from service.reports.table import Column, Format, Table

#: Of the jobs; --format csv has the states alone.
_REMEDY = "type dq results state:running --format csv, or use a wider terminal"


@click.command
@format_option
def command(*, format: Format) -> None:
    """Show how many jobs are in each state, and those that run."""
    database = open_context().database
    states, paused = count_states(database), is_paused(database)
    running = list_jobs(database, parse_selectors(["state:running"]))
    owners = list_owners(database)
    alive = sum(worker.is_alive for worker in list_workers(database))
    document = {
        "jobs": states,
        "workers": alive,
        "is_paused": paused,
        "running": [row.job_id for row in running],
        "owners": [asdict(owner) for owner in owners],
    }
    rows = [{"state": state, "jobs": number} for state, number in states.items()]
    columns = (Column("state", "state"), Column("jobs", "jobs", "{:,}".format, "right"))
    print_table(Table(columns, rows, json_value=document), format)
    if format == "table" and len(owners) > 1:
        print_table(owner_table(owners), format)
    if format == "table" and running:
        print_table(replace(job_table(running), remedy=_REMEDY), format)
    if states[JobState.QUEUED] or states[JobState.RUNNING]:
        print_message(
            f"All that is queued or runs: {estimate_remaining(database, open_condition())}"
        )
    print_message(f"{plural(alive, 'worker')} running." if alive else "No worker is running.")
    if paused:
        print_message("The queue is paused. Type: dq resume")
    if not alive and states[JobState.QUEUED]:
        print_message("Queued jobs wait for a worker. Type: dq worker")
