"""`dq export`: results for other programs."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from sqlalchemy import ColumnElement

from models.database import Database
from models.errors import DqError, UsageError
from service.analysis.comparison import compare
from service.cli.bulk import BulkProgress
from service.cli.context import open_context
from service.cli.output import print_message, print_table, print_text
from service.cli.parameters import is_given, selector_argument
from service.formatting import join_words, plural
from service.queries.epoch_choice import expand_metric_name
from service.queries.jobs import (
    list_baseline_jobs,
    list_compared_jobs,
    list_curves,
    list_jobs,
    show_job,
)
from service.reports.comparison_table import comparison_table
from service.reports.export import files
from service.reports.export.mlflow import Experiment
from service.reports.export.tensorboard import write_run
from service.reports.job_tables import job_table
from service.reports.table import Table

_KINDS = ("csv", "jsonl", "parquet", "md", "latex", "tensorboard", "mlflow")
#: The options that only some kinds take.
_TAKEN_BY = {
    "out": ("csv", "jsonl", "parquet", "md", "latex", "tensorboard"),
    "epochs": ("csv", "jsonl", "parquet", "md"),
    "metric": ("latex",),
    "baseline": ("latex",),
    "fixed_seeds": ("latex",),
    "url": ("mlflow",),
    "experiment": ("mlflow",),
}
#: Up to this many jobs are exported before anybody has read a bar.
_FEW_JOBS = 19


@click.command
@selector_argument(required=False)
@click.option("--to", "kind", type=click.Choice(_KINDS), required=True, help="What to export to.")
@click.option("--out", default="-", help="A file, or TensorBoard's folder; - is standard output.")
@click.option("--epochs", is_flag=True, help="One row for each epoch instead of each job.")
@click.option("--metric", default="valid_accuracy", help="What LaTeX compares.", show_default=True)
@click.option("--baseline", help="What LaTeX compares with.  [default: no dropout]")
@click.option("--fixed-seeds", is_flag=True, help="Student's t test for LaTeX, seeds fixed before.")
@click.option(
    "--url", default="http://127.0.0.1:5000", help="The MLflow server.", show_default=True
)
@click.option("--experiment", default="dq", help="MLflow's experiment.", show_default=True)
def command(
    *,
    selectors: tuple[str, ...],
    kind: str,
    out: str,
    epochs: bool,
    metric: str,
    baseline: str | None,
    fixed_seeds: bool,
    url: str,
    experiment: str,
) -> None:
    """Export results to a file, to TensorBoard or to MLflow; all jobs, or those named.

    Rows are as `dq results --format csv` has them; LaTeX is the table of `dq results --compare`.
    TensorBoard and MLflow get a run for each job. Exporting again replaces what was exported.

    \b
    dq export s7 --to parquet --out s7.parquet --epochs
    dq export s7 --to tensorboard --out runs
    dq export @last --to mlflow --url http://127.0.0.1:5000 --experiment dropout
    """
    for option, kinds in _TAKEN_BY.items():
        if kind not in kinds and is_given(option):
            takers = join_words(kinds, "or")
            name = option.replace("_", "-")
            raise UsageError(f"--{name} does not go with --to {kind}, but with {takers}")
    path = _read_out(kind, out)
    context = open_context()
    database, which = context.database, context.find_jobs(selectors)
    if kind == "mlflow":
        _export_to_mlflow(database, which, url, experiment)
    elif kind == "tensorboard":
        _export_to_tensorboard(database, which, Path(out))
    elif kind == "latex":
        jobs = list_compared_jobs(database, which)
        compared = compare(
            jobs,
            expand_metric_name(metric),
            baseline,
            baseline_jobs=list_baseline_jobs(database, which, baseline),
            fixed_seeds=fixed_seeds,
        )
        _write(comparison_table(compared), kind, path)
    else:
        _write(_list(database, which, epochs=epochs), kind, path)


def _read_out(kind: str, out: str) -> Path | None:
    """Return the path to write to; None is standard output, which is for text."""
    if out != "-":
        return Path(out)
    if kind in {"parquet", "tensorboard"}:
        what = "the folder" if kind == "tensorboard" else "a file"
        raise UsageError(f"--to {kind} needs --out with {what} to write to")
    return None


def _list(database: Database, which: ColumnElement[bool], *, epochs: bool) -> Table:
    jobs = list_jobs(database, which)[::-1]  # oldest first: a later export appends
    _refuse_none(jobs)
    return files.job_epoch_table(jobs, list_curves(database, which)) if epochs else job_table(jobs)


def _refuse_none(jobs: Sequence[object]) -> None:
    if not jobs:
        raise DqError("No job matches, so nothing is exported. Type: dq results")


def _write(table: Table, kind: Any, path: Path | None) -> None:
    if kind == "parquet" and path:
        files.write_parquet(table, path)
    elif path:
        files.write_text(files.to_text(table, kind), path)
    elif kind in {"csv", "md"}:
        print_table(table, kind)
    else:
        print_text(files.to_text(table, kind))
    if path:
        print_message(f"{plural(len(table.rows), 'row')} in {path}")


def _export_to_tensorboard(database: Database, which: ColumnElement[bool], folder: Path) -> None:
    jobs = list_jobs(database, which)[::-1]
    _refuse_none(jobs)
    epochs = {curve.job_id: curve.epochs for curve in list_curves(database, which)}
    started = [job for job in jobs if epochs.get(job.job_id)]
    with BulkProgress("exported", _FEW_JOBS) as show:
        for number, job in enumerate(started, 1):
            write_run(folder, job, epochs[job.job_id])
            show(number, len(started))
    _print_left_out(len(jobs) - len(started))
    print_message(f"{plural(len(started), 'run')} in {folder}. Type: tensorboard --logdir {folder}")


def _export_to_mlflow(database: Database, which: ColumnElement[bool], url: str, name: str) -> None:
    jobs = list_curves(database, which)
    _refuse_none(jobs)
    started = [job.job_id for job in jobs if job.epochs or job.state.is_final]
    experiment = Experiment.open(url, name)
    done: Counter[str] = Counter()
    with BulkProgress("exported", _FEW_JOBS) as show:
        for number, job_id in enumerate(started, 1):
            done[experiment.add(show_job(database, job_id), database.name)] += 1
            show(number, len(started))
    _print_left_out(len(jobs) - len(started))
    counts = ", ".join(f"{done[outcome]} {outcome}" for outcome in ("new", "updated", "unchanged"))
    print_message(f"{plural(len(started), 'run')} in MLflow's experiment {name}: {counts}")


def _print_left_out(left_out: int) -> None:
    if left_out:
        print_message(f"Not included: {plural(left_out, 'job')} without an epoch so far.")
