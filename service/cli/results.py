"""`dq results`: list results, or compare configurations."""

import click

from models.settings import Settings
from service.cli.output import emit, format_option, say
from service.cli.parameters import selector_argument
from service.report import Format


@click.command
@selector_argument(required=False)
@click.option("--compare", is_flag=True, help="One row a configuration, with a verdict.")
@click.option("--metric", default="valid_accuracy", help="What to compare by.", show_default=True)
@click.option("--baseline", help="The configuration to compare with.  [default: no dropout]")
@click.option("--limit", type=click.IntRange(1), default=50, help="List so many of the newest.")
@format_option
def command(
    *,
    selectors: tuple[str, ...],
    compare: bool,
    metric: str,
    baseline: str | None,
    limit: int,
    format: Format,
) -> None:
    """List the results of all jobs, or of those named; or compare their configurations.

    \b
    dq results --compare s7
    """
    from service.cli.tables import job_table
    from service.comparison import compare as compare_runs
    from service.comparison_table import comparison_table
    from service.queries import count_jobs, list_jobs, list_runs
    from service.selector import condition
    from service.store import open_database

    database, which = open_database(Settings.load()), condition(selectors)
    if compare:
        runs = list_runs(database, which)
        emit(comparison_table(compare_runs(runs, metric, baseline)), format)
        return
    rows = list_jobs(database, which, limit)
    emit(job_table(rows, total=count_jobs(database, which)), format)
    if not rows:
        say("There are no such jobs." if selectors else "There are no jobs yet. Type: dq submit")
