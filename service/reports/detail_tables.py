"""Tables about one job: its facts, epochs, attempts and log, and how it differs from another."""

import re
from collections.abc import Sequence
from functools import partial
from typing import Any

from models.spec import ExperimentSpec
from models.state import JobState
from service.analysis.difference import Difference
from service.formatting import format_field, format_fields, format_metric, plural
from service.queries.rows import JobDetail, JobRow, LogRow
from service.reports.job_tables import flatten, metric_columns, style_state
from service.reports.progress_tables import describe_batches
from service.reports.table import Column, Table

#: Beside another table, whose CSV the command prints.
_REMEDY = "use --json or a wider terminal"


def detail_table(detail: JobDetail, waits: Sequence[str]) -> Table:
    """Show all facts of a job; in JSON with its epochs and attempts."""
    row = detail.row
    facts: dict[str, Any] = {
        "job": row.job_id,
        "sweep": f"s{row.sweep_id}",
        "name": row.name,
        "tags": detail.tags or None,
        "note": row.note,
        "state": "queued, held" if row.held and row.state == JobState.QUEUED else row.state,
        "reason": row.reason,
        "progress": _describe_epochs(row),
        "created (UTC)": row.created_at,
        "started (UTC)": row.started_at,
        "finished (UTC)": row.finished_at,
        "worker": row.worker,
        **format_fields(row.spec),
        **detail.provenance,
        "repeat it by": repeat_command(row.spec),
    }
    document = {
        **flatten(row),
        "spec": row.spec.model_dump(mode="json"),
        "tags": detail.tags,
        "epochs": [vars(epoch) for epoch in detail.epochs],
        "attempts": [vars(attempt) for attempt in detail.attempts],
        "repeat": repeat_command(row.spec),
        "waits": waits,
    }
    return Table(
        columns=(Column("name", ""), Column("value", "")),
        rows=[{"name": name, "value": each} for name, each in facts.items() if each is not None],
        footnotes=tuple(waits),
        json_value=document,
    )


def _describe_epochs(row: JobRow) -> str:
    epochs = f"{row.epochs_done} of {plural(row.spec.epochs, 'epoch')}"
    return ", ".join(filter(None, [epochs, describe_batches(row)]))


def repeat_command(spec: ExperimentSpec) -> str:
    """Return the `dq submit` that repeats a spec."""
    options = [
        f"{_option(name)} {format_field(name, getattr(spec, name))}"
        for name in spec.described_fields
    ]
    return f"dq submit {' '.join(options)}"


def _option(field: str) -> str:
    return "--dropout" if field == "keep" else f"--{field.replace('_', '-')}"


def epoch_table(detail: JobDetail) -> Table:
    """List the epochs of a job."""
    columns = (
        Column("epoch", "epoch", align="right"),
        *metric_columns(),
        Column("seconds", "seconds", partial(format_metric, "seconds"), "right"),
    )
    return Table(columns, detail.epochs, remedy=_REMEDY)


def attempt_table(detail: JobDetail) -> Table:
    """List the attempts at a job."""
    columns = (
        Column("number", "attempt", align="right"),
        Column("worker", "worker"),
        Column("started_at", "started (UTC)", priority=20),
        Column("ended_at", "ended (UTC)", priority=10),
        Column("resumed_epoch", "from epoch", align="right", priority=30),
        Column("outcome", "outcome", style=style_state),
        Column("detail", "why", _last_line),
    )
    return Table(columns, detail.attempts, remedy=_REMEDY)


def _last_line(text: str) -> str:
    """Return the line that ends a traceback, without the path of dq's own errors."""
    last = text.strip().splitlines()[-1] if text.strip() else ""
    return re.sub(r"^models\.errors\.\w+: ", "", last)


def log_table(lines: Sequence[LogRow]) -> Table:
    """List log lines."""
    columns = (
        Column("at", "at (UTC)"),
        Column("job_id", "job", align="right"),
        Column("attempt", "attempt", align="right"),
        Column("text", "what happened"),
    )
    return Table(columns, lines)


def difference_table(differences: Sequence[Difference], a: int, b: int) -> Table:
    """List what differs between two jobs of these ids."""
    columns = (
        Column("part", "part", priority=10),
        Column("name", "what"),
        Column("a", f"job {a}"),
        Column("b", f"job {b}"),
    )
    return Table(columns, differences)
