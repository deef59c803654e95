"""`dq results`: list results, or compare configurations."""

import sys
from collections.abc import Sequence
from pathlib import Path

import click
from sqlalchemy import ColumnElement

from models.database import Database
from models.errors import UsageError
from service.analysis.comparison import compare as compare_jobs
from service.analysis.factors import parse_by
from service.analysis.row_order import arrange
from service.cli.context import open_context
from service.cli.output import format_option, print_message, print_table
from service.cli.parameters import COUNT, is_given, selector_argument
from service.cli.streams import is_ascii_only
from service.formatting import join_words
from service.queries.epoch_choice import expand_metric_name, parse_epoch_choice
from service.queries.jobs import (
    check_epoch_choice,
    list_baseline_jobs,
    list_compared_jobs,
    list_curves,
)
from service.queries.pages import PageRequest, parse_sort, read_page
from service.queries.rows import Curve
from service.reports.comparison_table import comparison_table
from service.reports.curve_table import curve_table
from service.reports.job_tables import ColumnChoice, job_table
from service.reports.plots.files import save_comparison, save_curves
from service.reports.table import Format

_SCREENFUL = 50
_NO_JOBS = "There are no jobs yet. Type: dq submit"
_NO_SUCH_JOBS = "No job matches. Type: dq results"
#: The options that only some ways of showing results take; "" is the list.
_TAKEN_BY = {
    "metric": ("--compare", "--curves", "--plot", "--top"),
    "baseline": ("--compare",),
    "mix": ("--compare",),
    "fixed_seeds": ("--compare",),
    "at": ("--compare", ""),
    "by": ("--compare",),
    **dict.fromkeys(("sort", "top"), ("--compare", "")),
    **dict.fromkeys(("cols", "only_changed", "limit", "after"), ("",)),
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
@click.option(
    "--baseline",
    help="Compare with this id, label, rate (0.5,0.5) or condition.  [default: no dropout]",
)
@click.option(
    "--by",
    metavar="FIELD,...",
    help="Fields that make strata (lr,hidden): compare within these, and pooled over them.",
)
@click.option("--mix", is_flag=True, help="Compare across data sets and trainer versions.")
@click.option("--fixed-seeds", is_flag=True, help="Student's t test, for seeds fixed beforehand.")
@click.option(
    "--at", default="final", help="When: final, best:METRIC or epoch:N.", show_default=True
)
@click.option("--curves", is_flag=True, help="Draw the learning curve of each configuration.")
@click.option(
    "--plot",
    type=click.Path(path_type=Path),
    help="Save the curves, or with --compare the comparison, as .png, .svg or .html.",
)
@click.option(
    "--sort",
    help="By id, lr, a metric, ..., or with --compare by diff, p, mean, lr, ...; add :asc or :desc."
    "  [default: newest first, or as submitted]",
)
@click.option(
    "--top", type=COUNT, help="Only the best N by --metric; with --compare, beside the baseline."
)
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
    by: str | None,
    mix: bool,
    fixed_seeds: bool,
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
    dq results --compare s7 --by lr,hidden
    dq results --where 'keep[0] == 0.9 and valid_acc > 0.98' --sort valid_acc
    """
    _refuse_stray_options(top, compare=compare, curves=curves, plot=plot is not None)
    metric, epoch_choice = expand_metric_name(metric), parse_epoch_choice(at)
    context = open_context()
    database, which = context.database, context.find_jobs(selectors, where)
    check_epoch_choice(database, which, epoch_choice)
    if compare:
        compared = compare_jobs(
            list_compared_jobs(database, which, epoch_choice),
            metric,
            baseline,
            baseline_jobs=list_baseline_jobs(database, which, baseline),
            by=() if by is None else parse_by(by),
            mix=mix,
            fixed_seeds=fixed_seeds,
        )
        arranged = arrange(compared, sort, top)
        if plot:
            save_comparison(arranged, str(epoch_choice), plot)
        selector = selectors[0] if len(selectors) == 1 and not where else None
        print_table(comparison_table(arranged, str(epoch_choice), selector), format)
    elif curves or plot:
        _show_curves(list_curves(database, which), metric, plot, format if curves else None)
    else:
        order = parse_sort(sort or (metric if top else "id"))
        request = PageRequest(order, top or limit or _limit_by_output(), epoch_choice, after)
        names = tuple(map(str.strip, cols.split(","))) if cols else None
        _list(database, which, request, ColumnChoice(names, only_changed), format)
    if plot:
        print_message(f"Saved {plot}.")


def _show_curves(
    curves: Sequence[Curve], metric: str, plot: Path | None, format: Format | None
) -> None:
    """Save curves as a plot, print them in a format, or both."""
    if plot:
        save_curves(curves, metric, plot)
    if format:
        print_table(curve_table(curves, metric, ascii=is_ascii_only(sys.stdout)), format)


def _refuse_stray_options(top: int | None, **chosen: bool) -> None:
    if chosen["compare"] and chosen["curves"]:
        raise UsageError("--compare and --curves exclude each other: give one of them")
    special = {f"--{way}" for way, is_chosen in chosen.items() if is_chosen}
    ways = special or {"", "--top" if top else ""}
    for option, takers in _TAKEN_BY.items():
        if not ways & set(takers) and is_given(option):
            name = f"--{option.replace('_', '-')}"
            fault = f"does not go with {' and '.join(sorted(special))}"
            needed = f"needs {join_words(takers, 'or')}"
            raise UsageError(f"{name} {fault if special else needed}")


def _list(
    database: Database,
    which: ColumnElement[bool],
    request: PageRequest,
    columns: ColumnChoice,
    format: Format,
) -> None:
    """Print a page, and say how to see more."""
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
