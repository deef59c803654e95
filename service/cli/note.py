"""`dq note`: write on jobs."""

import click

from models.settings import Settings
from service.cli.output import say
from service.report import count


@click.command
@click.argument("selector", metavar="SEL")
@click.argument("text")
def command(*, selector: str, text: str) -> None:
    """Write a note on jobs; `dq show` prints it. An empty TEXT removes it.

    \b
    dq note 142 "the fan was broken that day"
    """
    from service.annotations import write_note
    from service.selection import find
    from service.store import open_database

    database = open_database(Settings.load())
    changed = write_note(database, find(database, [selector]), text)
    say(f"{count(changed, 'job')} changed.")
