"""`dq diff`: what sets two jobs apart."""

import click

from models.settings import Settings
from service.cli.output import emit, format_option, say
from service.cli.parameters import COUNT
from service.report import Column, Format, Table


@click.command
@click.argument("a", type=COUNT)
@click.argument("b", type=COUNT)
@format_option
def command(*, a: int, b: int, format: Format) -> None:
    """List all in which two jobs differ: spec, provenance, outcome.

    \b
    dq diff 142 143
    """
    from service.difference import find_differences
    from service.queries import show_job
    from service.store import open_database

    database = open_database(Settings.load())
    differences = find_differences(show_job(database, a), show_job(database, b))
    columns = (
        Column("part", "part"),
        Column("name", "what"),
        Column("a", f"job {a}"),
        Column("b", f"job {b}"),
    )
    emit(Table(columns, differences), format)
    if not differences:
        say(f"Jobs {a} and {b} do not differ.")
