"""`dq tune`: which rate is best."""

import uuid
from collections.abc import Sequence
from functools import partial
from typing import Any

import click

from models.errors import DatabaseUnreachable, DqError, SchemaOutdated
from models.spec import ExperimentSpec
from models.state import JobState
from service.cli.context import Context, find_database, open_context
from service.cli.output import (
    command_line,
    format_option,
    on_ctrl_c,
    print_message,
    print_table,
    print_text,
)
from service.cli.parameters import RANGE, whole_number
from service.cli.spec_options import base_options
from service.cli.submit_messages import print_unsent
from service.cli.wait import wait
from service.formatting import format_ids, plural
from service.jobs import SubmitOptions, submit
from service.jobs.preview import preview
from service.queries.estimate import estimate_remaining
from service.queries.jobs import list_compared_jobs
from service.queries.rows import ComparedJob
from service.queries.selectors import in_sweep
from service.reports.comparison_table import comparison_table
from service.reports.table import Format
from service.reports.tuning_tables import describe_rung, plan_table, tuning_table
from service.search.plan import MOST_CONFIRMED, SAMPLERS, Plan, Sampler, make_plan
from service.search.space import Space
from service.search.tuning import tune
from service.specs.options import parse_base
from service.specs.parsing import Range


@click.command
@click.option(
    "--keep",
    type=RANGE,
    default="0.4..1",
    help="Keep probability of all hidden layers.",
    show_default=True,
)
@click.option(
    "--input-keep",
    type=RANGE,
    default="1",
    help="Keep probability of pixels.",
    show_default=True,
)
@click.option("--lr", type=RANGE, default="0.1", help="Learning rate.", show_default=True)
@click.option(
    "--budget",
    type=whole_number(1, 100_000),
    default=180,
    help="The most runs of the selection.",
    show_default=True,
)
@click.option(
    "--confirm",
    type=whole_number(2, MOST_CONFIRMED),
    default=10,
    help="Seeds on which the best with dropout and the best without are compared.",
    show_default=True,
)
@click.option(
    "--sampler",
    type=click.Choice(SAMPLERS),
    default="grid",
    help="Where candidates come from; tpe and qmc are Optuna's.",
    show_default=True,
)
@base_options
@click.option("--dry-run", is_flag=True, help="Print the plan, and queue nothing.")
@format_option
def command(
    *,
    keep: Range,
    input_keep: Range,
    lr: Range,
    budget: int,
    confirm: int,
    sampler: Sampler,
    dry_run: bool,
    format: Format,
    **fields: Any,
) -> None:
    """Find the best keep probability and learning rate, and confirm it on new seeds.

    \b
    dq tune --keep 0.4..1 --lr 0.01..0.3 --hidden 512x3
    dq tune --input-keep 0.7..1 --hidden 512x3 --sampler tpe --budget 200

    In each rung the better half of the candidates goes on with more seeds, on validation images.
    Then the best with dropout and the best without are compared on new seeds and on the test
    images. The same command again goes on where it was.
    """
    plan = make_plan(Space(parse_base(**fields), keep, input_keep, lr), sampler, budget, confirm)
    if dry_run:
        _preview(plan, format)
        return
    context = open_context()
    with on_ctrl_c(f"The jobs go on. Type: {command_line()}"):
        tuning = tune(
            plan, partial(_run, context), lambda rung: print_message(describe_rung(plan, rung))
        )
    print_table(tuning_table(tuning), format)
    if format in ("table", "md"):
        print_text("")
        print_table(comparison_table(tuning.confirmation), format)
    if tuning.confirmation.failed:
        raise SystemExit(1)


def _preview(plan: Plan, format: Format) -> None:
    """Print the plan, and how long it takes."""
    print_table(plan_table(plan), format)
    try:
        sentences = preview(find_database(), plan.expected_specs).sentences
    except (DatabaseUnreachable, SchemaOutdated) as error:
        sentences = [f"What is known already cannot be told: {error}"]
    for sentence in sentences:
        print_message(sentence)


def _run(context: Context, title: str, specs: Sequence[ExperimentSpec]) -> Sequence[ComparedJob]:
    """Submit the specs that have not run yet, wait for them, and return the jobs of all."""
    options = SubmitOptions(
        context.settings.owner, name=f"tune: {title}", tags=("tune",), reuse=True
    )
    submitted = submit(context.database, context.broker, specs, options, uuid.uuid4().hex)
    print_unsent(submitted)
    which = in_sweep(submitted.sweep_id)
    if missing := len(submitted.created) + len(submitted.open_before):
        rest = estimate_remaining(context.database, which)
        print_message(f"{title}: {plural(missing, 'job')} to run. {rest}")
        wait(context.database, which, command_line())
    else:
        print_message(f"{title}: done before.")
    jobs = list_compared_jobs(context.database, which)
    _refuse_cancelled(jobs)
    return jobs


def _refuse_cancelled(jobs: Sequence[ComparedJob]) -> None:
    """Raise DqError if a job was cancelled: nothing can be said of its candidate."""
    if ids := [job.job_id for job in jobs if job.state is JobState.CANCELLED]:
        raise DqError(
            f"{plural(len(ids), 'job')} cancelled: {format_ids(ids)}. To go on type: "
            f"{command_line()}"
        )
