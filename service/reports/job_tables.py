"""Tables of specs and of jobs, a row each."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from models.errors import UsageError
from models.metrics import EPOCH_METRICS
from models.spec import ExperimentSpec
from models.state import JobState
from service.formatting import (
    abbreviate_metric,
    describe_fields,
    find_varying,
    format_all_ids,
    format_field,
    format_metric,
)
from service.jobs import Change, Submitted
from service.jobs.known_jobs import Key, KnownJob, key
from service.queries.epoch_choice import FINAL, EpochChoice
from service.queries.rows import JobRow
from service.reports.table import ESSENTIAL, Column, Table

#: The fields of a spec that every list of jobs shows.
_USUAL_FIELDS = ("dataset", "hidden", "keep", "lr", "seed")
_SPEC_TITLES = {"dataset": "data set", "batch_size": "batch", "train_size": "images"}
#: In a narrow table, what tells jobs apart is left out after their figures.
_SPEC_PRIORITY = 96
_METRIC_PRIORITIES = {"valid_accuracy": 97, "valid_loss": 50}
_JOB_FIELDS = (
    *("job_id", "sweep_id", "name", "owner", "state", "reason", "note", "attempt", "epochs_done"),
    *("worker", "held", "created_at", "started_at", "finished_at"),
)
_STATE_STYLES: Mapping[str, str] = {
    JobState.RUNNING: "cyan",
    JobState.SUCCEEDED: "green",
    JobState.FAILED: "red",
    JobState.CANCELLED: "yellow",
}


@dataclass(frozen=True)
class ColumnChoice:
    """Which columns a list of jobs has."""

    names: tuple[str, ...] | None = None
    #: Of the spec, only the fields in which the jobs differ.
    only_changed: bool = False


def spec_table(specs: Sequence[ExperimentSpec], known: Mapping[Key, KnownJob]) -> Table:
    """List specs, a job each: what sets them apart, under what all have in common.

    `known` are the jobs that need not be run again.
    """
    described = {name for spec in specs for name in spec.described_fields}
    fields = [name for name in ExperimentSpec.model_fields if name in described]
    listed = {*find_varying(specs), "keep", "seed"}
    rows = [{**dict(spec), "known": _describe_known(known.get(key(spec)))} for spec in specs]
    return Table(
        columns=(
            *(spec_column(name) for name in fields if name in listed),
            *([Column("known", "known")] if known else []),
        ),
        rows=rows,
        title=(describe_fields(specs[0], [name for name in fields if name not in listed]),),
        fields=tuple(ExperimentSpec.model_fields),
    )


def _describe_known(job: KnownJob | None) -> str | None:
    if job is None:
        return None
    return f"job {job.job_id}, {'finished' if job.is_finished else 'queued or running'}"


def submitted_table(submitted: Submitted) -> Table:
    """Show the sweep and its jobs."""
    row = {"sweep": f"s{submitted.sweep_id}", "jobs": format_all_ids(submitted.job_ids)}
    document = {
        "sweep": submitted.sweep_id,
        "jobs": submitted.job_ids,
        "created": submitted.created,
        "reused": submitted.finished_before,
        "joined": submitted.open_before,
        "is_sent": submitted.publish_error is None,
        "remarks": submitted.notes,
    }
    columns = (Column("sweep", "sweep"), Column("jobs", "jobs", max_length=60))
    return Table(columns, [row], json_value=document)


def change_table(changes: Sequence[Change]) -> Table:
    """List what became of the selected jobs."""
    return Table((Column("job_id", "job"), Column("change", "outcome")), changes)


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
        Column("state", "state", style=style_state),
        Column("reason", "why"),
    )
    return Table(columns, lines)


def job_table(
    rows: Sequence[JobRow], choice: ColumnChoice = ColumnChoice(), epoch_choice: EpochChoice = FINAL
) -> Table:
    """List jobs with their metrics at an epoch; raise UsageError for an unknown column."""
    return Table(
        columns=_choose_columns(rows, choice),
        rows=[flatten(row) for row in rows],
        title=() if epoch_choice.is_final else (f"Metrics at {epoch_choice}",),
        fields=choice.names or (*_JOB_FIELDS, *ExperimentSpec.model_fields, *EPOCH_METRICS),
    )


def flatten(row: JobRow) -> dict[str, Any]:
    """Put a job's spec and metrics beside its other fields."""
    return {
        **dict(row.spec),
        **{name: getattr(row, name) for name in _JOB_FIELDS},
        **{name: row.metrics.get(name) for name in EPOCH_METRICS},
        "progress": f"{row.epochs_done}/{row.spec.epochs}",
    }


def _choose_columns(rows: Sequence[JobRow], choice: ColumnChoice) -> tuple[Column, ...]:
    if choice.names:
        return tuple(find_column(name) for name in choice.names)
    changed = find_varying([row.spec for row in rows])
    if choice.only_changed:
        names = {"job_id", *changed, "progress", "state"}
        shown = [column for column in _job_columns(changed) if column.name in names]
        return (*shown, *metric_columns())
    return (*list_columns(rows, changed), *metric_columns())


def list_columns(rows: Sequence[JobRow], more: Iterable[str] = ()) -> tuple[Column, ...]:
    """List the columns of jobs, with `more` of the spec's fields than are usual.

    The name and the reason have a column where a job has one, the owner where there are several.
    """
    empty = {name for name in ("name", "reason") if not any(getattr(row, name) for row in rows)}
    if len({row.owner for row in rows}) < 2:  # noqa: PLR2004 - nothing to tell apart
        empty.add("owner")
    return tuple(column for column in _job_columns(more) if column.name not in empty)


def find_column(name: str) -> Column:
    """Return the column of that name, never to be left out; raise UsageError for an unknown one."""
    known = {column.name: column for column in (*_job_columns(), *metric_columns())}
    known |= {field: spec_column(field) for field in ExperimentSpec.model_fields}
    known |= {field: Column(field, field) for field in _JOB_FIELDS if field not in known}
    if name not in known:
        raise UsageError(f"--cols: unknown column {name!r}: give some of {', '.join(known)}")
    return replace(known[name], priority=ESSENTIAL)


def _job_columns(more: Iterable[str] = ()) -> tuple[Column, ...]:
    wanted = {*_USUAL_FIELDS, *more} - {"epochs"}  # the progress has those
    state = Column("state", "state", style=style_state, priority=98, factors_out=True)
    return (
        Column("job_id", "job", align="right"),
        Column("name", "name", priority=30, max_length=30, factors_out=True),
        Column("owner", "owner", priority=35, max_length=20),
        *(spec_column(name) for name in ExperimentSpec.model_fields if name in wanted),
        Column("progress", "epochs", align="right", priority=70, factors_out=True),
        state,
        Column("reason", "why", priority=90, max_length=50, fold=20, factors_out=True),
    )


def spec_column(name: str) -> Column:
    """Return the column of a spec's field."""
    return Column(
        name,
        _SPEC_TITLES.get(name, name),
        partial(format_field, name),
        "right" if name == "seed" else "left",
        _SPEC_PRIORITY - (name == "dataset"),
        factors_out=True,
    )


def metric_columns() -> tuple[Column, ...]:
    """Return the columns of an epoch's metrics."""
    return tuple(
        Column(
            name,
            abbreviate_metric(name),
            partial(format_metric, name),
            "right",
            _METRIC_PRIORITIES.get(name, 10),
        )
        for name in EPOCH_METRICS
    )


def style_state(state: str) -> str:
    """Return the rich style of a state; an outcome may be no state, and has none."""
    return _STATE_STYLES.get(state, "")
