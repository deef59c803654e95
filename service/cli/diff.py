"""`dq diff`: what sets two jobs apart."""

import click

from models.errors import UsageError
from models.settings import Settings
from service.cli.output import format_option, print_message, print_table
from service.cli.parameters import selector_argument
from service.formatting import plural
from service.reports.table import Format


@click.command
@selector_argument(required=True)
@format_option
def command(*, selectors: tuple[str, ...], format: Format) -> None:
    """Show how two jobs differ: in spec, provenance and results.

    \b
    dq diff 142 143
    """
    from service.analysis.difference import find_differences
    from service.operations.schema import open_database
    from service.queries.jobs import list_ids, show_job
    from service.queries.selectors import resolve_selectors, split_selectors
    from service.reports.job_tables import difference_table

    database = open_database(Settings.load())
    ids = [
        i
        for word in split_selectors(selectors)
        for i in list_ids(database, resolve_selectors(database, [word]))
    ]
    if len(ids) != 2:  # noqa: PLR2004
        named = f"{' '.join(selectors)} names {plural(len(ids), 'job')}"
        raise UsageError(f"{named}, and dq diff compares two: dq diff {_example(ids)}")
    a, b = (show_job(database, job_id) for job_id in ids)
    differences = find_differences(a, b)
    print_table(difference_table(differences, *ids), format)
    if not differences:
        print_message(f"Jobs {ids[0]} and {ids[1]} do not differ.")


def _example(ids: list[int]) -> str:
    return " ".join(map(str, [*ids, 142, 143][:2]))
