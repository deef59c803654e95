"""`dq submit`: queue experiments."""

import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

import click

from models.database import Database
from models.errors import DatabaseUnreachable, SchemaOutdated, UsageError
from models.message import Priority
from models.settings import Settings
from models.spec import ExperimentSpec
from service.cli.bulk import MANY, BulkProgress, confirm, is_interactive
from service.cli.context import find_database, open_context
from service.cli.output import format_option, print_message, print_table
from service.cli.parameters import COUNT, DURATION
from service.cli.spec_options import spec_options
from service.cli.submit_messages import print_known
from service.cli.until import run_until_decided
from service.cli.wait import print_ended
from service.cli.wait import wait as wait_for_jobs
from service.formatting import plural
from service.jobs import SubmitOptions, Submitted, submit
from service.jobs.preview import Preview, preview
from service.jobs.submission import SubmitProgress
from service.queries.estimate import estimate_remaining
from service.queries.jobs import list_jobs
from service.queries.selectors import ids_condition, in_sweep
from service.queries.workers import list_workers
from service.reports.job_tables import spec_table, submitted_table
from service.reports.table import Format
from service.search.until import SeedPlan, make_plan
from service.specs.files import parse_rows
from service.specs.grid import Grid, build_spec, deduplicate, repeat, sample
from service.specs.options import choose_seeds, parse_grid, warn_about_low_keep


@click.command
@spec_options
@click.option("--like", type=COUNT, metavar="ID", help="Take the rest from a job.")
@click.option("--fill", metavar="SEL", help="Top the configurations of jobs up to --seeds.")
@click.option(
    "--from", "file", type=click.File(encoding="utf-8"), help="Read specs: JSON, CSV or YAML; or -"
)
@click.option("--sample", "size", type=COUNT, help="Draw so many configurations of the grid.")
@click.option("--force", is_flag=True, help="Run again what is finished or queued already.")
@click.option("--name", help="A name for the sweep.")
@click.option("--tag", "tags", multiple=True, help="A word to find the jobs by: tag:WORD.")
@click.option(
    "--priority",
    type=click.Choice([priority.name.lower() for priority in Priority]),
    help="Which of the waiting jobs go first.  [default: normal]",
)
@click.option("--timeout", type=DURATION, help="The most an attempt may take: 30m.")
@click.option(
    "--stall-timeout",
    type=DURATION,
    help="Fail a job that stands still so long.  [default: 10m]",
)
@click.option(
    "--max-crashes",
    type=click.IntRange(1, 1000),
    help="Fail a job after so many crashes without progress.  [default: 3]",
)
@click.option("--keep-checkpoint", is_flag=True, help="Keep the trained weights.")
@click.option("--wait", is_flag=True, help="Wait for the end, and print the results.")
@click.option(
    "--until",
    type=click.Choice(["decided"]),
    help="Run more seeds of what is undecided, from 4 to 20 or as --seeds 4..20 says.",
)
@click.option(
    "--smallest",
    type=click.FloatRange(min=0, min_open=True),
    metavar="POINTS",
    help="With --until: smaller differences of the accuracy do not matter.",
)
@click.option("--yes", is_flag=True, help=f"Do not ask before more than {MANY:,} new jobs.")
@click.option("--dry-run", is_flag=True, help="Print the jobs, and queue nothing.")
@format_option
def command(
    *,
    like: int | None,
    fill: str | None,
    file: TextIO | None,
    size: int | None,
    force: bool,
    name: str | None,
    tags: tuple[str, ...],
    priority: str | None,
    timeout: float | None,
    stall_timeout: float | None,
    max_crashes: int | None,
    keep_checkpoint: bool,
    wait: bool,
    until: str | None,
    smallest: float | None,
    yes: bool,
    dry_run: bool,
    format: Format,
    **fields: Any,
) -> None:
    """Queue experiments: each repeated option is an axis of a grid, repeated over the seeds.

    \b
    dq submit --dropout 0.9,0.8,0.8 --dropout none --hidden 512x3 --seeds 5
    dq submit --fill s7 --seeds 10
    dq submit --dropout 0.8 --dropout none --seeds 4..20 --until decided

    What is finished already, or queued, is not run again unless you say --force.
    """
    _check_until(until, smallest, fields)
    grid = _read_specs(like, fill, file, fields | {"seeds": (0,)} if until else fields)
    grid = sample(grid, size) if size else grid
    plan = make_plan(grid.specs, fields["seeds"], smallest) if until else None
    print_message(str(plan or grid))
    if warning := warn_about_low_keep(fields["dropout"]):
        print_message(warning)
    if dry_run:
        _preview(plan.list_first() if plan else grid.specs, force, format)
        return
    options = SubmitOptions(
        owner=Settings.load().owner,
        name=name,
        tags=tags,
        priority=Priority[priority.upper()] if priority else None,
        max_crashes=max_crashes,
        stall_seconds=stall_timeout,
        timeout_seconds=timeout,
        keep_checkpoint=keep_checkpoint or None,
        reuse=not force,
    )
    if plan:
        _run_until_decided(plan, options, format, yes=yes)
    else:
        _submit(grid.specs, options, format, wait=wait, yes=yes)


def _check_until(until: str | None, smallest: float | None, fields: dict[str, Any]) -> None:
    if smallest and not until:
        raise UsageError("--smallest goes with --until decided")
    if until and fields["seed"]:
        raise UsageError(
            "--seed does not go with --until decided, which runs seeds 0, 1, 2, ...: "
            "say how many with --seeds 4..20"
        )


def _read_specs(
    like: int | None, fill: str | None, file: TextIO | None, fields: dict[str, Any]
) -> Grid:
    """Return the specs of the one source that was named: a file, jobs to fill up, or options."""
    if sum(source is not None for source in (like, fill, file)) > 1:
        raise UsageError("--like, --fill and --from exclude each other: give one of them")
    if fill is None and file is None:
        return parse_grid(**fields, base=_list_specs(str(like))[0] if like else None)
    seeds = fields["seed"] or fields["seeds"]
    if given := [name for name, value in fields.items() if value and "seed" not in name]:
        option = f"--{given[0].replace('_', '-')}"
        raise UsageError(f"{option} goes with neither --fill nor --from, which bring whole specs")
    if fill is not None and not seeds:
        raise UsageError("--fill tops up to how many seeds? Add --seeds 10")
    specs = _read_file(file) if file else _list_specs(str(fill))
    if not seeds:
        return deduplicate(specs)
    return repeat(specs, choose_seeds(fields["seed"], fields["seeds"]))


def _list_specs(selector: str) -> list[ExperimentSpec]:
    context = open_context()
    rows = list_jobs(context.database, context.find_jobs([selector]))
    if not rows:
        raise UsageError(f"{selector} names no jobs now. Type: dq results")
    return [row.spec for row in reversed(rows)]


def _read_file(file: TextIO) -> list[ExperimentSpec]:
    try:
        text = file.read()
    except ValueError as error:
        raise UsageError(f"{file.name} is no text in UTF-8: {error}") from error
    name = "-" if file is sys.stdin else str(file.name)
    return [build_spec(values) for values in parse_rows(text, name)]


def _preview(specs: Sequence[ExperimentSpec], force: bool, format: Format) -> None:
    """Print the jobs, what is known of them, and how long they will take."""
    try:
        found = preview(find_database(), specs, is_forced=force)
    except (DatabaseUnreachable, SchemaOutdated) as error:
        found = Preview(sentences=[f"What is known already cannot be told: {error}"])
    print_table(spec_table(specs, found.known), format)
    for sentence in found.sentences:
        print_message(sentence)


def _run_until_decided(
    plan: SeedPlan, options: SubmitOptions, format: Format, *, yes: bool
) -> None:
    if plan.most_jobs > MANY and not yes and is_interactive():
        confirm(f"Up to {plan.most_jobs:,} jobs will be submitted. Go on?")
    run_until_decided(plan, options, format)


def _submit(
    specs: Sequence[ExperimentSpec],
    options: SubmitOptions,
    format: Format,
    *,
    wait: bool,
    yes: bool,
) -> None:
    context = open_context()
    database = context.database
    if len(specs) > MANY and not yes and is_interactive():
        _ask(database, specs, is_forced=not options.reuse)
    with _showing_progress() as show:
        submitted = submit(
            database, context.broker, specs, options, uuid.uuid4().hex, on_progress=show
        )
    print_known(submitted)
    sweep = f"s{submitted.sweep_id}"
    if submitted.created or submitted.open_before:
        print_message(str(estimate_remaining(database, in_sweep(submitted.sweep_id))))
    if wait:
        which = ids_condition(submitted.job_ids)
        progress = wait_for_jobs(database, which, f"dq wait {sweep}")
        print_ended(database, which, progress, format)
    else:
        table = submitted_table(submitted)
        print_table(table, format, f"The jobs are saved as sweep {sweep}.")
        _print_next(database, submitted)


def _ask(database: Database, specs: Sequence[ExperimentSpec], *, is_forced: bool) -> None:
    """Ask before many new jobs are submitted."""
    found = preview(database, specs, is_forced=is_forced)
    new = len(specs) - len(found.known)
    if new > MANY:
        for sentence in found.sentences:
            print_message(sentence)
        confirm(f"{new:,} new jobs will be submitted. Go on?")


@contextmanager
def _showing_progress() -> Iterator[Callable[[SubmitProgress], None]]:
    """Show how far a submit is; if it is interrupted, say what it left behind."""
    last: SubmitProgress | None = None

    def show(progress: SubmitProgress) -> None:
        nonlocal last
        last = progress
        show_jobs(progress.sent or progress.saved, progress.specs)

    with BulkProgress("submitted") as show_jobs:
        try:
            yield show
        except BaseException as error:
            show_jobs.stop()
            is_ctrl_c = isinstance(error, KeyboardInterrupt)
            if last or is_ctrl_c:
                print_message(_describe_left(last) if last else "Nothing was submitted.")
            if is_ctrl_c:
                raise SystemExit(130) from None
            raise


def _describe_left(progress: SubmitProgress) -> str:
    sweep, jobs = f"s{progress.sweep_id}", plural(progress.specs, "job")
    sent = f"{plural(progress.sent, 'message')} sent, and a worker sends the rest"
    undo = f"To undo: dq cancel {sweep}"
    if progress.saved == progress.specs:
        return f"All {jobs} of {sweep} are saved, {sent}. {undo}"
    saved = f"{progress.saved:,} of {jobs} of {sweep} are saved, {sent}."
    return f"{saved} For the rest type the same again. {undo}"


def _print_next(database: Database, submitted: Submitted) -> None:
    sweep = f"s{submitted.sweep_id}"
    if not submitted.created and not submitted.open_before:
        print_message(f"Nothing is left to run. Next: dq results --compare {sweep}")
    elif any(worker.is_alive for worker in list_workers(database)):
        print_message(f"Next: dq wait {sweep}; then dq results --compare {sweep}")
    else:
        print_message(
            "No worker is running yet. Start one on a host with a GPU (or this one): dq worker"
        )
