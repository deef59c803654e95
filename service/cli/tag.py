"""`dq tag`: put words on jobs."""

import click

from models.settings import Settings
from service.cli.bulk import changing, yes_option
from service.cli.output import print_message
from service.cli.parameters import one_selector_argument
from service.formatting import plural


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
    from service.jobs.annotations import add_tags, remove_tags
    from service.operations.schema import open_database
    from service.queries.selectors import resolve_selectors

    change = remove_tags if remove else add_tags
    database = open_database(Settings.load())
    which = resolve_selectors(database, [selector])
    again = f"dq tag {selector} {' '.join(tags)}{' --remove' * remove}"
    with changing(database, which, "changed", again, yes=yes) as show:
        changed = change(database, which, tags, show)
    change_made = "Untagged" if remove else "Tagged"
    print_message(f"{change_made} {plural(changed, 'job')}: {', '.join(tags)}.")
