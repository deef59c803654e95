"""`dq tag`: put words on jobs."""

import click

from service.cli.bulk import changing, yes_option
from service.cli.context import open_context
from service.cli.output import print_message
from service.cli.parameters import one_selector_argument
from service.formatting import plural
from service.jobs.annotations import add_tags, remove_tags


@click.command
@one_selector_argument
@click.argument("tags", metavar="TAG...", nargs=-1, required=True)
@click.option("--remove", is_flag=True, help="Remove the tags instead.")
@yes_option
def command(*, selector: str, tags: tuple[str, ...], remove: bool, yes: bool) -> None:
    """Tag jobs with words to name them by: tag:paper.

    \b
    dq tag s7 paper final
    """
    context = open_context()
    which = context.find_jobs([selector])
    change = remove_tags if remove else add_tags
    with changing(context.database, which, "changed", yes=yes) as show:
        changed = change(context.database, which, tags, show)
    done = "Untagged" if remove else "Tagged"
    print_message(f"{done} {plural(changed, 'job')}: {', '.join(tags)}.")
