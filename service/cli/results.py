"""`dq results`: list results, or compare configurations."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from models.errors import UsageError
from models.settings import Settings
from service.cli.output import format_option, print_message, print_table
from service.cli.parameters import COUNT, selector_argument
from service.cli.streams import is_plain
from service.reports.table import Format

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement

    from models.database import Database
    from service.queries.epoch_choice import EpochChoice
    from service.queries.pages import PageRequest
    from service.reports.job_tables import ColumnChoice


_SCREENFUL = 50
_NO_JOBS = "There are no jobs yet. Type: dq submit"
_NO_SUCH_JOBS = "No job matches. Type: dq results"
#: The options that only some ways of showing results take; "" is the list.
_TAKEN_BY = {
    "metric": ("--compare", "--curves", "--plot", "--top"),
    "baseline": ("--compare",),
    "mix": ("--compare",),
    "at": ("--compare", ""),
    **dict.fromkeys(("sort", "top", "cols", "only_changed", "limit", "after"), ("",)),
}


@click.command
@selector_argument(required=False)
@click.option("--where", metavar="CONDITION", help="Only jobs that meet it: 'lr < 0.05'.")
@click.option("--compare", is_flag=True, help="One row for each configuration, with a verdict.")
@click.option(
    "--metric",
    default="valid_accuracy",
    help="What to compare, draw or rank by.",
    show_default=True,
)
@click.option("--baseline", help="The configuration to compare with.  [default: no dropout]")
@click.option("--mix", is_flag=True, help="Compare across data sets and trainer versions.")
@click.option(
    "--at", default="final", help="When: final, best:METRIC or epoch:N.", show_default=True
)
@click.option("--curves", is_flag=True, help="Draw the learning curve of each configuration.")
@click.option(
    "--plot", type=click.Path(path_type=Path), help="Save the curves as .png, .svg or .html."
)
@click.option(
    "--sort", help="By id, lr, a metric, ...; add :asc or :desc.  [default: newest first]"
)
@click.option("--top", type=COUNT, help="Only the best N by --metric.")
@click.option("--cols", help="Only these columns: job_id,keep,lr,valid_accuracy.")
@click.option("--only-changed", is_flag=True, help="Only those fields of the spec that differ.")
@click.option(
    "--limit", type=COUNT, help="List at most N.  [default: 50 on a terminal, all in a pipe]"
)
@click.option("--after", help="Continue after the last job of the page before.")
@format_option
def command(
    *,
    selectors: tuple[str, ...],
    where: str | None,
    compare: bool,
    metric: str,
    baseline: str | None,
    mix: bool,
    at: str,
    curves: bool,
    plot: Path | None,
    sort: str | None,
    top: int | None,
    cols: str | None,
    only_changed: bool,
    limit: int | None,
    after: str | None,
    format: Format,
) -> None:
    """List the results of all jobs, or of those named; or compare their configurations.

    \b
    dq results --compare s7
    dq results --where 'keep[0] == 0.9 and valid_acc > 0.98' --sort valid_acc
    """
    from service.operations.schema import open_database
    from service.queries.epoch_choice import expand_metric_name, parse_epoch_choice
    from service.queries.jobs import check_epoch_choice
    from service.queries.pages import PageRequest, parse_sort
    from service.queries.selectors import resolve_selectors
    from service.reports.job_tables import ColumnChoice

    _refuse_stray_options(top, compare=compare, curves=curves, plot=plot is not None)
    metric, epoch_choice = expand_metric_name(metric), parse_epoch_choice(at)
    database = open_database(Settings.load())
    which = resolve_selectors(database, selectors, where)
    check_epoch_choice(database, which, epoch_choice)
    if plot:
        _plot(database, which, metric, plot)
    if curves:
        _draw_curves(database, which, metric, format)
    elif compare:
        _compare(
            database,
            which,
            metric=metric,
            epoch_choice=epoch_choice,
            baseline=baseline,
            mix=mix,
            format=format,
        )
    elif not plot:
        order = parse_sort(sort or (metric if top else "id"))
        request = PageRequest(order, top or limit or _limit_by_output(), epoch_choice, after)
        columns = ColumnChoice(
            tuple(map(str.strip, cols.split(","))) if cols else None, only_changed
        )
        _list(database, which, request, columns, format)


def _refuse_stray_options(top: int | None, **chosen: bool) -> None:
    if chosen["compare"] and chosen["curves"]:
        raise UsageError("--compare and --curves exclude each other: give one of them")
    special = {f"--{way}" for way, is_chosen in chosen.items() if is_chosen}
    ways = special or {"", "--top" if top else ""}
    source = click.get_current_context().get_parameter_source
    for option, takers in _TAKEN_BY.items():
        if not ways & set(takers) and source(option) is not ParameterSource.DEFAULT:
            name = f"--{option.replace('_', '-')}"
            fault = f"does not go with {' and '.join(sorted(special))}"
            raise UsageError(f"{name} {fault if special else f'needs {_or(takers)}'}")


def _or(words: Sequence[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} or {last}" if most else last


def _compare(
    database: "Database",
    which: "ColumnElement[bool]",
    *,
    metric: str,
    epoch_choice: "EpochChoice",
    baseline: str | None,
    mix: bool,
    format: Format,
) -> None:
    """Print the comparison of the jobs' configurations."""
    from service.analysis.comparison import compare
    from service.queries.jobs import list_compared_jobs
    from service.reports.comparison_table import comparison_table

    compared = compare(list_compared_jobs(database, which, epoch_choice), metric, baseline, mix=mix)
    print_table(comparison_table(compared, str(epoch_choice)), format)


def _list(
    database: "Database",
    which: "ColumnElement[bool]",
    request: "PageRequest",
    columns: "ColumnChoice",
    format: Format,
) -> None:
    """Print a page, and say how to see more."""
    from service.queries.pages import read_page
    from service.reports.job_tables import job_table

    page = read_page(database, which, request)
    print_table(job_table(page.rows, columns, request.epoch_choice), format)
    given = click.get_current_context().params
    if not page.rows:
        is_all = not (given["selectors"] or given["where"] or given["after"])
        print_message(_NO_JOBS if is_all else _NO_SUCH_JOBS)
    elif page.next and not given["top"]:
        print_message(
            f"There are more: add --after {page.next} for the next ones, or | less for all."
        )


def _limit_by_output() -> int | None:
    """Return how many jobs to list where nobody says; a pipe gets all."""
    return _SCREENFUL if sys.stdout.isatty() else None


def _draw_curves(
    database: "Database", which: "ColumnElement[bool]", metric: str, format: Format
) -> None:
    from service.queries.jobs import list_curves
    from service.reports.curve_table import curve_table

    print_table(
        curve_table(list_curves(database, which), metric, ascii=is_plain(sys.stdout)), format
    )


def _plot(database: "Database", which: "ColumnElement[bool]", metric: str, path: Path) -> None:
    from service.queries.jobs import list_curves
    from service.reports.plot import save_plot

    save_plot(list_curves(database, which), metric, path)
    print_message(f"Saved {path}.")
