"""Tables of what is under way: the jobs that run, and the workers."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from models.metrics import EPOCH_METRICS
from models.state import JobState
from service.formatting import format_all_ids, format_duration, format_gib, plural
from service.queries.owners import OwnerRow
from service.queries.progress import measure_left
from service.queries.rows import JobRow, Progress, WorkerRow
from service.queries.watching import Snapshot
from service.reports.job_tables import find_column, flatten, list_columns
from service.reports.table import Column, Table

_WATCHED = {"job_id", "name", "hidden", "keep", "lr", "seed", "progress"}
_BAR_CELLS = 10
_RUNNING_FIELDS = (
    *("job_id", "sweep_id", "name", "epochs_done", "batches_done", "worker", "epoch_seconds"),
)


def watch_table(snapshot: Snapshot, max_rows: int, *, ascii: bool = False) -> Table:
    """List the jobs that run, with a bar each, under the progress of all.

    `ascii` draws the bars with ASCII.
    """
    running = snapshot.progress.running[:max_rows]
    left = measure_left(snapshot.progress.running)
    columns = (
        *(_fix(column) for column in list_columns(running) if column.name in _WATCHED),
        find_column("valid_accuracy"),
        Column("bar", "progress", lambda share: _draw_bar(share, ascii), priority=45),
        Column("seconds_left", "left", format_duration, "right"),
        Column("worker", "worker", priority=20),
    )
    hidden = snapshot.progress.states[JobState.RUNNING] - len(running)
    notes = (f"{hidden:,} more run." if hidden else "", snapshot.obstacle)
    title = (describe_progress(snapshot.progress), describe_rest(snapshot))
    return Table(
        columns=columns if running else (),
        rows=[
            {
                **flatten(row),
                "bar": row.epochs_reached / row.spec.epochs,
                "seconds_left": left[row.job_id],
            }
            for row in running
        ],
        title=title if snapshot.is_open else title[:1],
        footnotes=tuple(note for note in notes if note),
        remedy="use a wider terminal",
    )


def _fix(column: Column) -> Column:
    """Keep the epochs a column: they are the same in all rows now, but not later."""
    return replace(column, factors_out=column.factors_out and column.name != "progress")


def _draw_bar(share: float, ascii: bool) -> str:
    done = int(share * _BAR_CELLS)
    full, empty = ("#", ".") if ascii else ("━", "╌")
    return full * done + empty * (_BAR_CELLS - done)


def watch_document(snapshot: Snapshot) -> dict[str, Any]:
    """Return a snapshot as an object for JSON; times are in seconds."""
    progress = snapshot.progress
    left = measure_left(progress.running)
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
                **{name: getattr(row, name) for name in _RUNNING_FIELDS},
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
    duration = format_duration(max(1.0, snapshot.rest.seconds))
    if not snapshot.workers:
        return f"About {duration} once a worker runs."
    return f"About {duration} left on {plural(snapshot.rest.workers, 'worker')}."


def owner_table(owners: Sequence[OwnerRow]) -> Table:
    """List who has jobs in the queue, whose turn it is first."""
    columns = (
        Column("owner", "owner", max_length=30),
        Column("queued", "queued", "{:,}".format, "right"),
        Column("running", "running", "{:,}".format, "right"),
        Column("workers", "workers", "{:,}".format, "right"),
        Column("hours", "hours lately", "{:.1f}".format, "right"),
    )
    return Table(columns, owners)


def worker_table(workers: Sequence[WorkerRow]) -> Table:
    """List workers; one that is silent is marked."""
    rows = [
        {
            **vars(row),
            "state": row.state if row.is_alive else "silent",
            "job_ids": row.job_ids or None,
        }
        for row in workers
    ]
    gpu_columns = (
        Column("device_uuid", "device UUID", priority=5),
        Column("memory_used", "memory in use", format_gib, "right", 15),
    )
    columns = (
        Column("worker", "worker"),
        Column("host", "host", priority=20, factors_out=True),
        Column("device", "device", priority=50, factors_out=True),
        *(gpu_columns if any(row.device_uuid for row in workers) else ()),
        Column("state", "state", style=lambda state: "red" if state == "silent" else ""),
        _running_column(workers),
        Column("silent_seconds", "last heartbeat", lambda value: f"{value:.0f} s ago"),
        Column("started_at", "started (UTC)", priority=10),
    )
    return Table(columns, rows, json_value=rows)


def _running_column(workers: Sequence[WorkerRow]) -> Column:
    """Return the column of what each worker runs: a job, or the jobs that it trains together."""
    if any(len(row.job_ids) > 1 for row in workers):
        return Column("job_ids", "jobs", format_all_ids, max_length=30)
    return Column("job_id", "job", align="right")
