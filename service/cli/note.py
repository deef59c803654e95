"""`dq note`: write on jobs."""

import click

from service.cli.bulk import changing, yes_option
from service.cli.context import open_context
from service.cli.output import print_message
from service.cli.parameters import one_selector_argument
from service.formatting import plural
from service.jobs.annotations import write_note


@click.command
@one_selector_argument
@click.argument("text")
@yes_option
def command(*, selector: str, text: str, yes: bool) -> None:
    """Write a note on jobs; `dq show` prints it. An empty TEXT removes it.

    \b
    dq note 142 "the fan was broken that day"
    """
    context = open_context()
    which = context.find_jobs([selector])
    with changing(context.database, which, "changed", yes=yes) as show:
        changed = write_note(context.database, which, text, show)
    done = "Wrote a note on" if text else "Removed the note from"
    print_message(f"{done} {plural(changed, 'job')}.")
