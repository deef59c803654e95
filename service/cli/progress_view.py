"""Shows on standard error how far jobs are: bars on a terminal, else a line now and then."""

import sys
import time
from types import TracebackType
from typing import Any, Self

from service.cli.output import print_message
from service.cli.streams import draws
from service.formatting import describe_field, plural
from service.operations.signals import sigint_blocked
from service.queries.rows import JobRow, Progress
from service.reports.job_tables import describe_batches, describe_progress

_LINE_SECONDS = 10.0


class ProgressView:
    """Call it with each look at the jobs; use it as a context."""

    def __init__(self) -> None:
        self._bars = _Bars() if draws(sys.stderr) else None
        self._said, self._said_at = "", float("-inf")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        if self._bars:
            self._bars.stop()

    def __call__(self, progress: Progress) -> None:
        """Show how far the jobs are."""
        if self._bars:
            self._bars.update(progress)
        elif not progress.open_jobs or time.monotonic() - self._said_at > _LINE_SECONDS:
            self._say(describe_progress(progress))

    def _say(self, text: str) -> None:
        if text != self._said:
            print_message(text)
            self._said, self._said_at = text, time.monotonic()


class _Bars:
    """A bar for all jobs together, from the first look on, and one for each that runs."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Rich

        self._rich = Rich(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f} epochs {task.fields[figures]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._all = self._rich.add_task("", total=1, figures="")
        self._jobs: dict[int, Any] = {}

    def stop(self) -> None:
        with sigint_blocked():  # or the cursor stays hidden
            self._rich.stop()

    def update(self, progress: Progress) -> None:
        finished = progress.jobs - progress.open_jobs
        self._rich.update(
            self._all,
            description=f"{finished:,} of {plural(progress.jobs, 'job')} done",
            completed=progress.epochs_reached,
            total=max(1, progress.epochs),
        )
        for job in progress.running:
            self._update_job(job)
        for job_id in set(self._jobs) - {job.job_id for job in progress.running}:
            self._rich.remove_task(self._jobs.pop(job_id))
        with sigint_blocked():
            self._rich.start()  # again, it does nothing

    def _update_job(self, job: JobRow) -> None:
        if job.job_id not in self._jobs:
            title = (
                f"job {job.job_id}: {describe_field('keep', job.spec.keep)}, seed {job.spec.seed}"
            )
            total = job.spec.epochs
            self._jobs[job.job_id] = self._rich.add_task(title, total=total, figures="")
        accuracy = job.metrics.get("valid_accuracy")
        figures = describe_batches(job) if accuracy is None else f"valid acc {accuracy:.4f}"
        task = self._jobs[job.job_id]
        self._rich.update(task, completed=job.epochs_reached, figures=figures)
