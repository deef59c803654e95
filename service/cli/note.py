"""`dq note`: write on jobs."""

import click

from models.settings import Settings
from service.cli.bulk import changing, yes_option
from service.cli.output import print_message
from service.cli.parameters import one_selector_argument
from service.formatting import plural


@click.command
@one_selector_argument
@click.argument("text")
@yes_option
def command(*, selector: str, text: str, yes: bool) -> None:
    """Write a note on jobs; `dq show` prints it. An empty TEXT removes it.

    \b
    dq note 142 "the fan was broken that day"
    """
    from service.jobs.annotations import write_note
    from service.operations.schema import open_database
    from service.queries.selectors import resolve_selectors

    database = open_database(Settings.load())
    which = resolve_selectors(database, [selector])
    with changing(database, which, "changed", "the same again", yes=yes) as show:
        changed = write_note(database, which, text, show)
    print_message(
        f"{'Wrote a note on' if text else 'Removed the note from'} {plural(changed, 'job')}."
    )
