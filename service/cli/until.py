"""What `dq submit --until decided` does: submit, wait and compare, round by round."""

import uuid
from collections.abc import Sequence

from models.database import Database
from service.analysis.comparison import Comparison, compare
from service.cli.context import open_context
from service.cli.output import command_line, on_ctrl_c, print_message, print_table, print_text
from service.cli.progress_views import open_verdicts
from service.cli.submit_messages import print_known
from service.jobs import SubmitOptions, submit
from service.queries.jobs import list_compared_jobs
from service.queries.rows import ComparedJob
from service.queries.selectors import ids_condition
from service.queries.watching import watch
from service.reports.table import Format
from service.reports.until_tables import (
    cost_table,
    describe_round,
    final_verdict_table,
    live_verdict_table,
)
from service.search.until import SeedPlan


def run_until_decided(plan: SeedPlan, options: SubmitOptions, format: Format) -> None:
    """Run the plan's rounds as one sweep, show the verdicts so far, and print those at the end."""
    context, token = open_context(), uuid.uuid4().hex
    specs, seeds = plan.list_first(), plan.least
    with on_ctrl_c(f"The queued jobs go on. To go on with the rest, type: {command_line()}"):
        while True:
            submitted = submit(context.database, context.broker, specs, options, token)
            if seeds == plan.least:
                print_known(submitted)
            jobs, comparison = _wait(context.database, submitted.job_ids, plan)
            print_message(describe_round(comparison, seeds))
            more = plan.list_more(comparison, seeds)
            if not more:
                break
            specs, seeds = (*specs, *more), more[-1].seed + 1
    print_table(final_verdict_table(comparison, jobs, f"s{submitted.sweep_id}"), format)
    if format == "table":
        print_text("")
        print_table(cost_table(comparison, jobs), format)


def _wait(
    database: Database, job_ids: Sequence[int], plan: SeedPlan
) -> tuple[list[ComparedJob], Comparison]:
    """Show the verdicts until the jobs have ended; return the jobs and their comparison."""
    which, states = ids_condition(job_ids), None
    with open_verdicts() as show:
        for snapshot in watch(database, which):
            if snapshot.progress.states != states:
                states = snapshot.progress.states
                jobs = list_compared_jobs(database, which)
                comparison = compare(jobs, smallest=plan.smallest)
            show(snapshot, live_verdict_table(snapshot, comparison))
    return jobs, comparison
