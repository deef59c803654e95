"""The tables that commands and pages show, but for the comparison."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from models.errors import UsageError
from models.spec import ExperimentSpec
from models.state import JobState
from service.comparison import spell, spell_ids
from service.jobs import Change, Submitted
from service.moment import FINAL, Moment
from service.queries import JobDetail, JobRow, LogRow, WorkerRow
from service.report import ESSENTIAL, Column, Table

_STATE_STYLES = {
    JobState.RUNNING: "cyan",
    JobState.SUCCEEDED: "green",
    JobState.FAILED: "red",
    JobState.CANCELLED: "yellow",
}
_SPEC_TITLES = {"batch_size": "batch", "train_size": "images"}


def spec_table(specs: Sequence[ExperimentSpec]) -> Table:
    """List specs, a job each, without the fields that all leave at their default."""
    told = {name for spec in specs for name in spec.told}
    shown = [name for name in ExperimentSpec.model_fields if name in told]
    return Table(_spec_columns(shown), specs, fields=tuple(ExperimentSpec.model_fields))


def submitted_table(submitted: Submitted) -> Table:
    """Tell the sweep and its jobs."""
    row = {"sweep": f"s{submitted.sweep_id}", "jobs": spell_ids(submitted.job_ids)}
    facts = {
        "sweep": submitted.sweep_id,
        "jobs": submitted.job_ids,
        "created": submitted.created,
        "reused": submitted.reused,
        "joined": submitted.joined,
        "is_sent": submitted.unsent is None,
    }
    return Table((Column("sweep", "sweep"), Column("jobs", "jobs")), [row], json_value=facts)


def change_table(changes: Sequence[Change]) -> Table:
    """List what became of the selected jobs."""
    return Table((Column("job_id", "job"), Column("change", "what happened")), changes)


@dataclass(frozen=True)
class Choice:
    """Which columns a person wants of a list of jobs."""

    names: tuple[str, ...] | None = None
    #: Of the spec, only the fields in which the jobs differ.
    only_changed: bool = False


def job_table(rows: Sequence[JobRow], choice: Choice = Choice(), moment: Moment = FINAL) -> Table:
    """List jobs with their metrics at a moment; raise UsageError for an unknown column."""
    return Table(
        columns=_choose_columns(rows, choice),
        rows=[_flatten(row) for row in rows],
        title=() if moment.is_final else (f"Metrics at {moment}",),
        fields=choice.names or (*_JOB_FIELDS, *ExperimentSpec.model_fields, *_METRICS),
    )


def _choose_columns(rows: Sequence[JobRow], choice: Choice) -> tuple[Column, ...]:
    if choice.names:
        return tuple(_find_column(name) for name in choice.names)
    if choice.only_changed:
        changed = [
            name
            for name in ExperimentSpec.model_fields
            if len({spell(name, getattr(row.spec, name)) for row in rows}) > 1
        ]
        names = ["job_id", *changed, "progress", "state"]
        return (*map(_find_column, names), *_metric_columns())
    return (*_job_columns(), *_metric_columns())


def _find_column(name: str) -> Column:
    known = {column.name: column for column in (*_job_columns(), *_metric_columns())}
    known |= {column.name: column for column in _spec_columns(ExperimentSpec.model_fields)}
    known |= {field: Column(field, field) for field in _JOB_FIELDS if field not in known}
    if name not in known:
        raise UsageError(f"--cols: unknown column {name!r}: give some of {', '.join(known)}")
    return replace(known[name], priority=ESSENTIAL)


_JOB_FIELDS = (
    *("job_id", "sweep_id", "name", "state", "reason", "note", "attempt", "epochs_done"),
    *("worker", "held", "created_at", "started_at", "finished_at"),
)
_METRICS = ("train_loss", "train_accuracy", "valid_loss", "valid_accuracy")


def worker_table(workers: Sequence[WorkerRow]) -> Table:
    """List workers; one that is silent is marked."""
    rows = [
        {
            "worker": row.worker,
            "host": row.host,
            "device": row.device,
            "device_uuid": row.device_uuid,
            "memory_used": row.memory_used,
            "memory_total": row.memory_total,
            "state": row.state if row.is_alive else "silent",
            "job_id": row.job_id,
            "silent_seconds": row.silent_seconds,
            "started_at": row.started_at,
        }
        for row in workers
    ]
    columns = (
        Column("worker", "worker"),
        Column("host", "host", priority=20),
        Column("device", "device", priority=50),
        *(_GPU_COLUMNS if any(row.device_uuid for row in workers) else ()),
        Column("state", "state", style=lambda state: "red" if state == "silent" else ""),
        Column("job_id", "job", align="right"),
        Column("silent_seconds", "last heartbeat", lambda value: f"{value:.0f} s ago"),
        Column("started_at", "started (UTC)", priority=10),
    )
    return Table(columns, rows, json_value=rows)


def _in_gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"


_GPU_COLUMNS = (
    Column("device_uuid", "device UUID", priority=5),
    Column("memory_used", "memory in use", _in_gib, priority=15, align="right"),
)


def log_table(lines: Sequence[LogRow]) -> Table:
    """List log lines."""
    columns = (
        Column("at", "at (UTC)"),
        Column("job_id", "job", align="right"),
        Column("attempt", "attempt", align="right"),
        Column("text", "what happened"),
    )
    return Table(columns, lines)


def detail_table(detail: JobDetail, waits: Sequence[str]) -> Table:
    """Tell all facts of a job; in JSON with its epochs and attempts."""
    row = detail.row
    facts: dict[str, Any] = {
        "job": row.job_id,
        "sweep": f"s{row.sweep_id}",
        "name": row.name,
        "tags": detail.tags or None,
        "note": row.note,
        "state": "queued, held" if row.held and row.state == JobState.QUEUED else row.state,
        "reason": row.reason,
        "progress": f"{row.epochs_done} of {row.spec.epochs} epochs",
        "created (UTC)": row.created_at,
        "started (UTC)": row.started_at,
        "finished (UTC)": row.finished_at,
        "worker": row.worker,
        **{name: spell(name, value) for name, value in row.spec},
        **_provenance(detail),
        "repeat it by": repeat_line(row.spec),
    }
    lines = [{"name": name, "value": value} for name, value in facts.items() if value is not None]
    document = {**_flatten(row), "spec": row.spec.model_dump(mode="json"), "tags": detail.tags}
    document |= {
        "epochs": [vars(epoch) for epoch in detail.epochs],
        "attempts": [vars(attempt) for attempt in detail.attempts],
        "repeat": repeat_line(row.spec),
        "waits": waits,
    }
    columns = (Column("name", ""), Column("value", ""))
    return Table(columns, lines, footnotes=tuple(waits), json_value=document)


def reason_table(reasons: Sequence[str]) -> Table:
    """List sentences; in JSON, just these."""
    rows = [{"reason": reason} for reason in reasons]
    return Table((Column("reason", "why"),), rows, json_value=reasons)


def epoch_table(detail: JobDetail) -> Table:
    """List the epochs of a job."""
    columns = (
        Column("epoch", "epoch", align="right"),
        *_metric_columns(),
        Column("seconds", "seconds", "{:.2f}".format, "right"),
    )
    return Table(columns, detail.epochs)


def attempt_table(detail: JobDetail) -> Table:
    """List the attempts at a job."""
    columns = (
        Column("number", "attempt", align="right"),
        Column("worker", "worker"),
        Column("started_at", "started (UTC)", priority=20),
        Column("ended_at", "ended (UTC)", priority=10),
        Column("resumed_epoch", "from epoch", align="right", priority=30),
        Column("outcome", "outcome", style=lambda outcome: _STATE_STYLES.get(outcome, "")),
        Column("detail", "why", _last_line),
    )
    return Table(columns, detail.attempts)


def repeat_line(spec: ExperimentSpec) -> str:
    """Return the `dq submit` that repeats a spec."""
    given = [f"{_option(name)} {spell(name, getattr(spec, name))}" for name in spec.told]
    return f"dq submit {' '.join(given)}"


def _option(field: str) -> str:
    return "--dropout" if field == "keep" else f"--{field.replace('_', '-')}"


def _provenance(detail: JobDetail) -> dict[str, Any]:
    known = [attempt.provenance for attempt in detail.attempts if attempt.provenance]
    return dict(known[-1]) if known else {}


def _last_line(text: str) -> str:
    return text.strip().splitlines()[-1] if text.strip() else ""


def _spec_columns(names: Iterable[str], priority: int = 100) -> tuple[Column, ...]:
    return tuple(
        Column(name, _SPEC_TITLES.get(name, name), partial(_spell_field, name), priority=priority)
        for name in names
    )


def _spell_field(name: str, value: Any) -> str:
    return spell(name, value)


def _job_columns() -> tuple[Column, ...]:
    return (
        Column("job_id", "job", align="right"),
        Column("name", "name", priority=30),
        Column("dataset", "data set", priority=90),
        Column("hidden", "hidden", partial(spell, "hidden"), priority=80),
        Column("keep", "keep", partial(spell, "keep")),
        Column("lr", "lr", priority=40),
        Column("seed", "seed", align="right", priority=85),
        Column("progress", "epochs", align="right", priority=70),
        Column("state", "state", style=lambda state: _STATE_STYLES.get(state, "")),
        Column("reason", "why", _cut, priority=60),
    )


def _cut(text: str, most: int = 50) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _metric_columns() -> tuple[Column, ...]:
    figure = "{:.4f}".format
    return (
        Column("train_loss", "train loss", figure, "right", 10),
        Column("train_accuracy", "train acc", figure, "right", 10),
        Column("valid_loss", "valid loss", figure, "right", 50),
        Column("valid_accuracy", "valid acc", figure, "right", 95),
    )


def _flatten(row: JobRow) -> dict[str, Any]:
    """Put a job's spec and metrics beside its other fields."""
    own = {name: getattr(row, name) for name in _JOB_FIELDS}
    metrics = {name: row.metrics.get(name) for name in _METRICS}
    progress = f"{row.epochs_done}/{row.spec.epochs}"
    return {**dict(row.spec), **own, **metrics, "progress": progress}
