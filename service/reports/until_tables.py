"""The tables of `dq submit --until decided`: the verdicts while jobs run, and what they cost."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from service.analysis.comparison import Comparison, ComparisonRow
from service.formatting import format_duration, plural
from service.queries.rows import ComparedJob
from service.queries.watching import Snapshot
from service.reports.comparison_table import comparison_table
from service.reports.progress_tables import describe_progress, describe_rest
from service.reports.table import Column, Table


def live_verdict_table(snapshot: Snapshot, comparison: Comparison) -> Table:
    """List the verdicts so far, under the progress of all jobs."""
    title = (describe_progress(snapshot.progress), describe_rest(snapshot))
    return replace(
        comparison_table(comparison),
        title=title if snapshot.is_open else title[:1],
        footnotes=(snapshot.obstacle,) if snapshot.obstacle else (),
        remedy="use a wider terminal",
    )


def describe_round(comparison: Comparison, seeds: int) -> str:
    """Say what is decided after a round of `seeds` seeds: "8 seeds: 3 of 4 decided."."""
    others = comparison.rows[1:]
    undecided = [row.label for row in others if row.is_open]
    decided = f"{plural(seeds, 'seed')}: {len(others) - len(undecided)} of {len(others)} decided."
    return f"{decided} Undecided: {'; '.join(undecided)}." if undecided else decided


def final_verdict_table(
    comparison: Comparison, jobs: Sequence[ComparedJob], selector: str
) -> Table:
    """Make the comparison's table; its JSON has what each configuration cost, too."""
    table = comparison_table(comparison, selector=selector)
    costs = cost_table(comparison, jobs).rows
    return replace(table, json_value={**table.json_value, "costs": costs})


def cost_table(comparison: Comparison, jobs: Sequence[ComparedJob]) -> Table:
    """List for how many seeds, and for how long, each configuration was trained."""
    rows = [_cost(row, jobs) for row in comparison.rows]
    seconds = sum(row["seconds"] for row in rows)
    trainings = sum(row["seeds"] for row in rows)
    columns = (
        Column("label", "what it cost"),
        Column("seeds", "seeds", "{:,}".format, "right"),
        Column("seconds", "training", format_duration, "right"),
        Column("verdict", "verdict"),
    )
    total = f"Together {plural(trainings, 'training')}, {format_duration(seconds)}."
    return Table(columns, rows, footnotes=(total,))


def _cost(row: ComparisonRow, jobs: Sequence[ComparedJob]) -> dict[str, Any]:
    own = [job for job in jobs if job.spec.configuration == row.configuration]
    return {
        "configuration": row.configuration,
        "label": row.label,
        "seeds": len({job.spec.seed for job in own}),
        "seconds": sum(job.metrics.get("seconds", 0.0) for job in own),
        "verdict": row.verdict,
    }
