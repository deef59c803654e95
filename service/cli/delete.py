"""`dq delete`: delete jobs that have ended."""

import click

from service.cli.bulk import changing, confirm_deletion, print_changes
from service.cli.context import open_context
from service.cli.output import format_option, print_message
from service.cli.parameters import selector_argument
from service.formatting import plural
from service.jobs import Change
from service.jobs.deletion import delete_jobs
from service.queries.jobs import count_jobs
from service.reports.table import Format


@click.command
@selector_argument(required=True)
@click.option("--yes", is_flag=True, help="Do not ask; needed where nobody can be asked.")
@format_option
def command(*, selectors: tuple[str, ...], yes: bool, format: Format) -> None:
    """Delete jobs that have ended: results, logs, tags and checkpoints. This cannot be undone.

    \b
    dq delete tag:draft

    Other sweeps that share a job lose it, too.
    """
    context = open_context()
    which, folder = context.find_jobs(selectors), context.settings.checkpoints
    number = count_jobs(context.database, which)
    if number and not yes:
        confirm_deletion(f"{plural(number, 'job')} will be deleted for ever.")
    with changing(context.database, which, "deleted", yes=True) as show:
        deleted = delete_jobs(context.database, which, folder, show)
    print_changes([Change(job_id, "deleted") for job_id in deleted.job_ids], format)
    if deleted.checkpoints_elsewhere:
        jobs = plural(deleted.checkpoints_elsewhere, "job")
        print_message(f"Checkpoints of {jobs} are not in {folder}: their hosts keep them.")
