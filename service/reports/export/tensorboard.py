"""Writes jobs as TensorBoard's event files: one run per job, with its metrics and its spec."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from models.metrics import METRICS, EpochMetrics
from models.spec import ExperimentSpec
from service.extras import needing
from service.formatting import format_field
from service.queries.rows import JobRow
from service.reports.output_file import writing_output

if TYPE_CHECKING:
    from tensorboard.compat.proto.event_pb2 import Event


def write_run(folder: Path, job: JobRow, epochs: Sequence[EpochMetrics]) -> Path:
    """Write a job's run, s7/job-142 in the folder; return its file.

    Written again, it replaces the first. Raises DqError if the package tensorboard is not there.
    """
    with needing("tensorboard", "export", "TensorBoard"):
        from tensorboard.summary.writer.record_writer import RecordWriter
    # TensorBoard reads files with "tfevents" in their name, in the order of the second after it.
    name = f"events.out.tfevents.{job.created_at.timestamp():010.0f}.dq-job-{job.job_id}"
    path = folder / f"s{job.sweep_id}" / f"job-{job.job_id}" / name
    with writing_output(path) as part, part.open("wb") as file:
        records = RecordWriter(file)
        for event in _events(job, epochs):
            records.write(event.SerializeToString())
    return path


def _events(job: JobRow, epochs: Sequence[EpochMetrics]) -> "Iterator[Event]":
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams.summary_v2 import hparams_pb

    # When an epoch ended is not stored: as if the job had run without a pause.
    time = (job.started_at or job.created_at).timestamp()
    yield Event(wall_time=time, file_version="brain.Event:2")
    # The seed is not a hyperparameter: TensorBoard averages the runs of one trial, and here these
    # are the seeds of one configuration.
    hparams = hparams_pb(_hparams(job.spec), job.spec.configuration, time)
    yield Event(wall_time=time, summary=hparams)
    for epoch in epochs:
        time += epoch.seconds
        values = [Summary.Value(tag=name, simple_value=getattr(epoch, name)) for name in METRICS]
        yield Event(wall_time=time, step=epoch.epoch, summary=Summary(value=values))


def _hparams(spec: ExperimentSpec) -> dict[str, str | int | float]:
    """Return all fields but the seed; TensorBoard takes numbers and text, but no lists."""
    return {
        name: value if isinstance(value, int | float) else format_field(name, value)
        for name, value in spec
        if name != "seed"
    }
