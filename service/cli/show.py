"""`dq show`: one job."""

import click

from models.settings import Settings
from service.cli.output import emit, format_option, say, write
from service.cli.parameters import COUNT
from service.report import Format


@click.command
@click.argument("job_id", metavar="ID", type=COUNT)
@click.option("--why", is_flag=True, help="Say only what the job waits for, or why it ended.")
@format_option
def command(*, job_id: int, why: bool, format: Format) -> None:
    """Show a job's spec, state, curve, attempts and provenance.

    \b
    dq show 142 --why
    """
    from service.job_tables import attempt_table, detail_table, epoch_table, reason_table
    from service.queries import explain_wait, show_job
    from service.store import open_database

    database = open_database(Settings.load())
    detail, waits = show_job(database, job_id), explain_wait(database, job_id)
    if why:
        reasons = waits or [detail.row.reason or f"It is {detail.row.state}."]
        emit(reason_table(reasons), format)
        return
    emit(detail_table(detail, waits), format)
    if format == "table":
        for table in (epoch_table(detail), attempt_table(detail)):
            if table.rows:
                write("")
                emit(table, format)
    if detail.row.state == "failed":
        say(f"Next: dq logs {job_id}; dq retry {job_id}")
