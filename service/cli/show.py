"""`dq show`: one job in full, or several a line each."""

from collections.abc import Sequence

import click

from models.database import Database
from models.state import JobState
from service.cli.context import open_context
from service.cli.output import format_option, print_message, print_table, print_text
from service.cli.parameters import selector_argument
from service.queries.explanations import explain, explain_wait
from service.queries.jobs import list_jobs, show_job
from service.queries.rows import JobRow
from service.reports.detail_tables import attempt_table, detail_table, epoch_table
from service.reports.job_tables import explained_table, job_table, reason_table
from service.reports.table import Format


@click.command
@selector_argument(required=True)
@click.option("--why", is_flag=True, help="Say only what a job waits for, or why it ended.")
@format_option
def command(*, selectors: tuple[str, ...], why: bool, format: Format) -> None:
    """Show a job's spec, state, curve, attempts and provenance; of several, a line each.

    \b
    dq show 142
    dq show s7 --why
    """
    context = open_context()
    rows = list_jobs(context.database, context.find_jobs(selectors))[::-1]
    if why:
        _explain(context.database, rows, format)
    elif len(rows) == 1:
        _show(context.database, rows[0].job_id, format)
    else:
        print_table(job_table(rows), format)
        more = f"For all of one job, type: dq show {rows[0].job_id}" if rows else None
        print_message(more or "No job is in that state.")


def _explain(database: Database, rows: Sequence[JobRow], format: Format) -> None:
    """Print why each job waits or ended; of one job, sentences."""
    reasons = [explain(database, row) for row in rows]
    table = reason_table(reasons[0]) if len(rows) == 1 else explained_table(rows, reasons)
    print_table(table, format)


def _show(database: Database, job_id: int, format: Format) -> None:
    detail = show_job(database, job_id)
    print_table(detail_table(detail, explain_wait(database, job_id)), format)
    if format == "table":
        for table in (epoch_table(detail), attempt_table(detail)):
            if table.rows:
                print_text("")
                print_table(table, format)
    if detail.row.state == JobState.FAILED:
        print_message(f"Next: dq logs {job_id}; dq retry {job_id}")
