"""`dq delete`: delete jobs that have ended."""

import click

from models.errors import UsageError
from models.settings import Settings
from service.cli.bulk import changing, confirm, is_interactive, print_changes
from service.cli.output import format_option, print_message
from service.cli.parameters import selector_argument
from service.formatting import plural
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
    from service.jobs import Change
    from service.jobs.deletion import delete_jobs
    from service.operations.schema import open_database
    from service.queries.jobs import count_jobs
    from service.queries.selectors import resolve_selectors

    settings = Settings.load()
    database = open_database(settings)
    which = resolve_selectors(database, selectors)
    number, again = count_jobs(database, which), f"dq delete {' '.join(selectors)}"
    if number and not yes and not is_interactive():
        raise UsageError(f"Deleting cannot be undone. Type: {again} --yes")
    if number and not yes:
        confirm(f"{plural(number, 'job')} will be deleted for ever. Go on?")
    with changing(database, which, "deleted", again, yes=True) as show:
        deleted = delete_jobs(database, which, settings.checkpoints, show)
    print_changes([Change(job_id, "deleted") for job_id in deleted.job_ids], format)
    if deleted.checkpoints_elsewhere:
        jobs = plural(deleted.checkpoints_elsewhere, "job")
        print_message(
            f"Checkpoints of {jobs} are not in {settings.checkpoints}: their hosts keep them."
        )
