"""`dq diff`: how two jobs differ."""

from collections.abc import Sequence

import click

from models.errors import UsageError
from service.analysis.difference import find_differences
from service.cli.context import open_context
from service.cli.output import format_option, print_message, print_table
from service.cli.parameters import selector_argument
from service.formatting import plural
from service.queries.jobs import list_ids, show_job
from service.queries.selectors import split_selectors
from service.reports.detail_tables import difference_table
from service.reports.table import Format


@click.command
@selector_argument(required=True)
@format_option
def command(*, selectors: tuple[str, ...], format: Format) -> None:
    """Show how two jobs differ: in spec, provenance and results.

    \b
    dq diff 142 143
    """
    context = open_context()
    # Word by word: `dq diff 143 142` shows 143 first.
    conditions = [context.find_jobs([word]) for word in split_selectors(selectors)]
    ids = [job_id for which in conditions for job_id in list_ids(context.database, which)]
    first, second = _check_two(ids, selectors)
    jobs = (show_job(context.database, job_id) for job_id in (first, second))
    differences = find_differences(*jobs)
    print_table(difference_table(differences, first, second), format)
    if not differences:
        print_message(f"Jobs {first} and {second} do not differ.")


def _check_two(ids: Sequence[int], selectors: Sequence[str]) -> Sequence[int]:
    if len(ids) != 2:  # noqa: PLR2004
        example = " ".join(map(str, [*ids, 142, 143][:2]))
        named = f"{' '.join(selectors)} names {plural(len(ids), 'job')}"
        raise UsageError(f"{named}, and dq diff compares two: dq diff {example}")
    return ids
