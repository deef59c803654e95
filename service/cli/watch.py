"""`dq watch`: how far jobs are, live."""

import click

from models.state import JobState
from service.cli.context import open_context
from service.cli.output import command_line, on_ctrl_c, print_message
from service.cli.parameters import selector_argument
from service.cli.progress_views import open_table
from service.formatting import plural
from service.queries.jobs import list_ids
from service.queries.rows import Progress
from service.queries.selectors import ids_condition, open_condition
from service.queries.watching import watch


@click.command
@selector_argument(required=False)
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object per line at each change."
)
def command(*, selectors: tuple[str, ...], as_json: bool) -> None:
    """Show the progress of jobs until they have ended, or until Ctrl-C, which stops no job.

    A terminal shows a table of the running jobs, with the time left of each and of all; a pipe or
    a file gets a line now and then. Without SEL these are all queued and running jobs.

    \b
    dq watch s7
    """
    context = open_context()
    which = context.find_jobs(selectors) if selectors else open_condition()
    job_ids = list_ids(context.database, which)
    if not job_ids:
        state = "in that state" if selectors else "queued or running"
        print_message(f"No job is {state}. Type: dq results")
        return
    # By their ids: others may be submitted meanwhile.
    with on_ctrl_c(f"The jobs go on. Type: {command_line()}"), open_table(as_json=as_json) as show:
        for snapshot in watch(context.database, ids_condition(job_ids)):
            show(snapshot)
    _print_next(snapshot.progress, " ".join(selectors))


def _print_next(progress: Progress, selector: str) -> None:
    if failed := progress.states[JobState.FAILED]:
        print_message(
            f"{plural(failed, 'job')} failed. Type: dq results {selector or 'state:failed'}"
        )
    print_message(f"Next: dq results --compare {selector}".rstrip())
