"""The tables that commands and pages show, but for the comparison."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from models.errors import UsageError
from models.metrics import EPOCH_METRICS
from models.spec import ExperimentSpec
from models.state import JobState
from service.analysis.difference import Difference
from service.formatting import (
    describe_field,
    format_duration,
    format_field,
    format_ids,
    plural,
)
from service.jobs import Change, Submitted
from service.jobs.known_jobs import Key, KnownJob, key
from service.queries.epoch_choice import FINAL, EpochChoice
from service.queries.progress import measure_left
from service.queries.rows import JobDetail, JobRow, LogRow, Progress, WorkerRow
from service.queries.watching import Snapshot
from service.reports.table import ESSENTIAL, Column, Table

_STATE_STYLES = {
    JobState.RUNNING: "cyan",
    JobState.SUCCEEDED: "green",
    JobState.FAILED: "red",
    JobState.CANCELLED: "yellow",
}
_SPEC_TITLES = {"dataset": "data set", "batch_size": "batch", "train_size": "images"}


def spec_table(specs: Sequence[ExperimentSpec], known: Mapping[Key, KnownJob]) -> Table:
    """List specs, a job each: what sets them apart, under what all have in common.

    `known` are the jobs that need not be run again.
    """
    told = {name for spec in specs for name in spec.described_fields}
    fields = [name for name in ExperimentSpec.model_fields if name in told]
    apart = _find_changed(specs)
    shown = [name for name in fields if name in {*apart, "keep", "seed"}]
    common = [describe_field(name, getattr(specs[0], name)) for name in fields if name not in shown]
    rows = [{**dict(spec), "known": _spell_known(known.get(key(spec)))} for spec in specs]
    return Table(
        columns=(*_spec_columns(shown), *([Column("known", "known")] if known else [])),
        rows=rows,
        title=(", ".join(common),),
        fields=tuple(ExperimentSpec.model_fields),
    )


def _spell_known(job: KnownJob | None) -> str | None:
    if job is None:
        return None
    return f"job {job.job_id}, {'finished' if job.is_finished else 'queued or running'}"


def submitted_table(submitted: Submitted) -> Table:
    """Tell the sweep and its jobs."""
    row = {"sweep": f"s{submitted.sweep_id}", "jobs": _spell_all(submitted.job_ids)}
    facts = {
        "sweep": submitted.sweep_id,
        "jobs": submitted.job_ids,
        "created": submitted.created,
        "reused": submitted.finished_before,
        "joined": submitted.open_before,
        "is_sent": submitted.publish_error is None,
        "remarks": submitted.notes,
    }
    columns = (Column("sweep", "sweep"), Column("jobs", "jobs", max_length=60))
    return Table(columns, [row], json_value=facts)


def change_table(changes: Sequence[Change]) -> Table:
    """List what became of the selected jobs."""
    return Table((Column("job_id", "job"), Column("change", "outcome")), changes)


@dataclass(frozen=True)
class ColumnChoice:
    """Which columns a person wants of a list of jobs."""

    names: tuple[str, ...] | None = None
    #: Of the spec, only the fields in which the jobs differ.
    only_changed: bool = False


def job_table(
    rows: Sequence[JobRow], choice: ColumnChoice = ColumnChoice(), epoch_choice: EpochChoice = FINAL
) -> Table:
    """List jobs with their metrics at the chosen epoch; raise UsageError for an unknown column."""
    return Table(
        columns=_choose_columns(rows, choice),
        rows=[_flatten(row) for row in rows],
        title=() if epoch_choice.is_final else (f"Metrics at {epoch_choice}",),
        fields=choice.names or (*_JOB_FIELDS, *ExperimentSpec.model_fields, *EPOCH_METRICS),
    )


def _choose_columns(rows: Sequence[JobRow], choice: ColumnChoice) -> tuple[Column, ...]:
    if choice.names:
        return tuple(_find_column(name) for name in choice.names)
    changed = _find_changed([row.spec for row in rows])
    if choice.only_changed:
        names = {"job_id", *changed, "progress", "state"}
        kept = [column for column in _job_columns(changed) if column.name in names]
        return (*kept, *_metric_columns())
    return (*_drop_empty(_job_columns(changed), rows), *_metric_columns())


def _find_changed(specs: Sequence[ExperimentSpec]) -> list[str]:
    """Name the fields that read differently in some specs than in others."""
    return [
        name
        for name in ExperimentSpec.model_fields
        if len({format_field(name, getattr(spec, name)) for spec in specs}) > 1
    ]


def _drop_empty(columns: Iterable[Column], rows: Sequence[JobRow]) -> tuple[Column, ...]:
    """Leave out the name and the reason where no job has one."""
    empty = {name for name in ("name", "reason") if not any(getattr(row, name) for row in rows)}
    return tuple(column for column in columns if column.name not in empty)


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
            "job_ids": row.job_ids or None,
            "silent_seconds": row.silent_seconds,
            "started_at": row.started_at,
        }
        for row in workers
    ]
    columns = (
        Column("worker", "worker"),
        Column("host", "host", priority=20, factors_out=True),
        Column("device", "device", priority=50, factors_out=True),
        *(_GPU_COLUMNS if any(row.device_uuid for row in workers) else ()),
        Column("state", "state", style=lambda state: "red" if state == "silent" else ""),
        _running_column(workers),
        Column("silent_seconds", "last heartbeat", lambda value: f"{value:.0f} s ago"),
        Column("started_at", "started (UTC)", priority=10),
    )
    return Table(columns, rows, json_value=rows)


def _running_column(workers: Sequence[WorkerRow]) -> Column:
    """Return the column of what each worker runs: a job, or the jobs that it trains together."""
    if any(len(row.job_ids) > 1 for row in workers):
        return Column("job_ids", "jobs", _spell_all, max_length=30)
    return Column("job_id", "job", align="right")


def _spell_all(ids: Sequence[int]) -> str:
    return format_ids(ids, most=len(ids))


def _in_gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"


_GPU_COLUMNS = (
    Column("device_uuid", "device UUID", priority=5),
    Column("memory_used", "memory in use", _in_gib, priority=15, align="right"),
)


def watch_table(snapshot: Snapshot, most_rows: int, *, ascii: bool = False) -> Table:
    """List up to so many of the jobs that run, with a bar each, under what all have done.

    `ascii` draws the bars with ASCII.
    """
    running = snapshot.progress.running[:most_rows]
    left = measure_left(snapshot.progress.running)
    columns = (
        *(_settle(each) for each in _drop_empty(_job_columns(), running) if each.name in _WATCHED),
        _find_column("valid_accuracy"),
        Column("bar", "progress", lambda share: _bar(share, ascii), priority=45),
        Column("seconds_left", "left", format_duration, "right"),
        Column("worker", "worker", priority=20),
    )
    hidden = snapshot.progress.states[JobState.RUNNING] - len(running)
    notes = [f"{hidden:,} more run."] if hidden else []
    notes += [snapshot.obstacle] if snapshot.obstacle else []
    return Table(
        columns=columns if running else (),
        rows=[{**_flatten_running(row), "seconds_left": left[row.job_id]} for row in running],
        title=(
            describe_progress(snapshot.progress),
            *([describe_rest(snapshot)] if snapshot.is_open else []),
        ),
        footnotes=tuple(notes),
        remedy="use a wider terminal",
    )


def watch_document(snapshot: Snapshot) -> dict[str, Any]:
    """Return a snapshot as an object for JSON; times are in seconds."""
    progress = snapshot.progress
    left = measure_left(progress.running)
    fields = (
        "job_id",
        "sweep_id",
        "name",
        "epochs_done",
        "batches_done",
        "worker",
        "epoch_seconds",
    )
    return {
        "at": snapshot.at,
        "jobs": progress.jobs,
        "states": progress.states,
        "epochs_done": progress.epochs_done,
        "epochs": progress.epochs,
        "seconds_left": snapshot.rest.seconds if snapshot.is_open else 0.0,
        "workers": snapshot.workers,
        "is_paused": snapshot.is_paused,
        "running": [
            {
                **{name: getattr(row, name) for name in fields},
                "spec": row.spec.model_dump(mode="json"),
                **{name: row.metrics.get(name) for name in EPOCH_METRICS},
                "seconds_left": left[row.job_id],
            }
            for row in progress.running
        ],
    }


def describe_progress(progress: Progress) -> str:
    """Write how many jobs are in each state, and the epochs done: "2 running; 3 of 20 epochs"."""
    states = progress.states
    parts = [f"{states[state]:,} {state}" for state in JobState if states[state]]
    slow = next((row for row in progress.running if row.batches_done), None)
    within = f"; job {slow.job_id}: {describe_batches(slow)}" if slow else ""
    done = f"{progress.epochs_done:,} of {plural(progress.epochs, 'epoch')}"
    return f"{', '.join(parts) or 'no jobs'}; {done}{within}"


def describe_batches(row: JobRow) -> str:
    """Write how far a job is within its epoch, or nothing where its epochs are short."""
    if not row.batches_done:
        return ""
    return f"batch {row.batches_done} of {row.spec.batches} of epoch {row.epochs_done + 1}"


def describe_rest(snapshot: Snapshot) -> str:
    """Write how long it takes until all have ended."""
    span = format_duration(max(1.0, snapshot.rest.seconds))
    if not snapshot.workers:
        return f"About {span} once a worker runs."
    return f"About {span} left on {plural(snapshot.rest.workers, 'worker')}."


def _settle(column: Column) -> Column:
    """Keep the epochs a column: they are the same in all rows now, but not later."""
    return replace(column, factors_out=column.factors_out and column.name != "progress")


_WATCHED = {"job_id", "name", "hidden", "keep", "lr", "seed", "progress"}
_BAR_CELLS = 10


def _bar(share: float, ascii: bool) -> str:
    done = int(share * _BAR_CELLS)
    full, empty = ("#", ".") if ascii else ("━", "╌")
    return full * done + empty * (_BAR_CELLS - done)


def _flatten_running(row: JobRow) -> dict[str, Any]:
    share = row.epochs_reached / row.spec.epochs
    return {**_flatten(row), "bar": share}


def log_table(lines: Sequence[LogRow]) -> Table:
    """List log lines."""
    columns = (
        Column("at", "at (UTC)"),
        Column("job_id", "job", align="right"),
        Column("attempt", "attempt", align="right"),
        Column("text", "what happened"),
    )
    return Table(columns, lines)


def _describe_epochs(row: JobRow) -> str:
    epochs = f"{row.epochs_done} of {plural(row.spec.epochs, 'epoch')}"
    return ", ".join(filter(None, [epochs, describe_batches(row)]))


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
        "progress": _describe_epochs(row),
        "created (UTC)": row.created_at,
        "started (UTC)": row.started_at,
        "finished (UTC)": row.finished_at,
        "worker": row.worker,
        **{name: format_field(name, value) for name, value in row.spec},
        **detail.provenance,
        "repeat it by": repeat_command(row.spec),
    }
    lines = [{"name": name, "value": value} for name, value in facts.items() if value is not None]
    document = {**_flatten(row), "spec": row.spec.model_dump(mode="json"), "tags": detail.tags}
    document |= {
        "epochs": [vars(epoch) for epoch in detail.epochs],
        "attempts": [vars(attempt) for attempt in detail.attempts],
        "repeat": repeat_command(row.spec),
        "waits": waits,
    }
    columns = (Column("name", ""), Column("value", ""))
    return Table(columns, lines, footnotes=tuple(waits), json_value=document)


def difference_table(differences: Sequence[Difference], a: int, b: int) -> Table:
    """List what differs between two jobs of these ids."""
    columns = (
        Column("part", "part", priority=10),
        Column("name", "what"),
        Column("a", f"job {a}"),
        Column("b", f"job {b}"),
    )
    return Table(columns, differences)


def reason_table(reasons: Sequence[str]) -> Table:
    """List sentences; in JSON, just these."""
    rows = [{"reason": reason} for reason in reasons]
    return Table((Column("reason", "why"),), rows, json_value=reasons)


def explained_table(rows: Sequence[JobRow], reasons: Sequence[Sequence[str]]) -> Table:
    """List jobs, each with sentences that say what it waits for or why it ended."""
    lines = [
        {"job_id": row.job_id, "state": row.state, "reason": " ".join(why)}
        for row, why in zip(rows, reasons, strict=True)
    ]
    columns = (
        Column("job_id", "job", align="right"),
        Column("state", "state", style=lambda state: _STATE_STYLES.get(state, "")),
        Column("reason", "why"),
    )
    return Table(columns, lines)


#: Beside another table, whose CSV the command prints.
_IN_JSON = "use --json or a wider terminal"


def epoch_table(detail: JobDetail) -> Table:
    """List the epochs of a job."""
    columns = (
        Column("epoch", "epoch", align="right"),
        *_metric_columns(),
        Column("seconds", "seconds", "{:.2f}".format, "right"),
    )
    return Table(columns, detail.epochs, remedy=_IN_JSON)


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
    return Table(columns, detail.attempts, remedy=_IN_JSON)


def repeat_command(spec: ExperimentSpec) -> str:
    """Return the `dq submit` that repeats a spec."""
    given = [
        f"{_option(name)} {format_field(name, getattr(spec, name))}"
        for name in spec.described_fields
    ]
    return f"dq submit {' '.join(given)}"


def _option(field: str) -> str:
    return "--dropout" if field == "keep" else f"--{field.replace('_', '-')}"


def _last_line(text: str) -> str:
    """Return the line that ends a traceback, without the path of dq's own errors."""
    last = text.strip().splitlines()[-1] if text.strip() else ""
    return re.sub(r"^models\.errors\.\w+: ", "", last)


#: What tells jobs apart is left out of a narrow table after their figures.
_SPEC_PRIORITY = 96


def _spec_columns(names: Iterable[str], priority: int = _SPEC_PRIORITY) -> tuple[Column, ...]:
    return tuple(
        Column(
            name,
            _SPEC_TITLES.get(name, name),
            partial(_spell_field, name),
            "right" if name == "seed" else "left",
            priority - (name == "dataset"),
            factors_out=True,
        )
        for name in names
    )


def _spell_field(name: str, value: Any) -> str:
    return format_field(name, value)


#: The fields of a spec that every list of jobs shows.
_USUAL = ("dataset", "hidden", "keep", "lr", "seed")


def _job_columns(more: Iterable[str] = ()) -> tuple[Column, ...]:
    """List the columns of jobs, with `more` of the spec's fields than are usual."""
    wanted = {*_USUAL, *more} - {"epochs"}  # the progress has those
    fields = [name for name in ExperimentSpec.model_fields if name in wanted]
    return (
        Column("job_id", "job", align="right"),
        Column("name", "name", priority=30, max_length=30, factors_out=True),
        *_spec_columns(fields),
        Column("progress", "epochs", align="right", priority=70, factors_out=True),
        Column(
            "state",
            "state",
            style=lambda state: _STATE_STYLES.get(state, ""),
            priority=98,
            factors_out=True,
        ),
        Column("reason", "why", priority=90, max_length=50, fold=20, factors_out=True),
    )


def _metric_columns() -> tuple[Column, ...]:
    figure = "{:.4f}".format
    return (
        Column("train_loss", "train loss", figure, "right", 10),
        Column("train_accuracy", "train acc", figure, "right", 10),
        Column("valid_loss", "valid loss", figure, "right", 50),
        Column("valid_accuracy", "valid acc", figure, "right", 97),
    )


def _flatten(row: JobRow) -> dict[str, Any]:
    """Put a job's spec and metrics beside its other fields."""
    own = {name: getattr(row, name) for name in _JOB_FIELDS}
    metrics = {name: row.metrics.get(name) for name in EPOCH_METRICS}
    progress = f"{row.epochs_done}/{row.spec.epochs}"
    return {**dict(row.spec), **own, **metrics, "progress": progress}
