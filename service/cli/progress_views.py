"""Show how far jobs are: bars or a live table on a terminal, elsewhere lines or JSON."""

import shutil
import sys
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from rich.text import Text

from service.cli.output import print_message, print_text
from service.cli.streams import can_color, can_draw, is_ascii_only
from service.formatting import describe_field, format_metric, plural, printable
from service.operations.signals import sigint_blocked
from service.queries.rows import JobRow, Progress
from service.queries.watching import Snapshot
from service.reports.progress_tables import (
    describe_batches,
    describe_progress,
    describe_rest,
    watch_document,
    watch_table,
)
from service.reports.table import Table, render, to_json_line

_LINE_SECONDS = 10.0
_MOST_BARS = 16
#: The lines of a terminal that the rows of the live table leave to all else.
_OTHER_LINES = 11


class Bars:
    """Progress bars on standard error, there from the first update on."""

    def __init__(self) -> None:
        self._rich = RichProgress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[figures]}", markup=False),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._bars: dict[int, TaskID] = {}

    def update(self, key: int, title: str, done: float, total: float, figures: str = "") -> None:
        """Draw the bar of a key as it is now."""
        if key not in self._bars:
            self._bars[key] = self._rich.add_task(title, total=total, figures=figures)
        self._rich.update(
            self._bars[key], description=title, completed=done, total=total, figures=figures
        )
        with sigint_blocked():
            self._rich.start()  # again, it does nothing

    def remove_all_but(self, keys: Collection[int]) -> None:
        """Remove the bars of other keys."""
        for key in self._bars.keys() - keys:
            self._rich.remove_task(self._bars.pop(key))

    def stop(self) -> None:
        """Leave the bars as they are."""
        if self._bars:
            with sigint_blocked():  # or the cursor stays hidden
                self._rich.stop()


@contextmanager
def open_bars() -> Iterator[Callable[[Progress], None]]:
    """Give a view on standard error: bars on a terminal, else a line at times."""
    if not can_draw(sys.stderr):
        lines = _Lines(print_message)
        yield lambda progress: lines(progress, describe_progress(progress))
        return
    bars = Bars()
    try:
        yield lambda progress: _draw_bars(bars, progress)
    finally:
        bars.stop()


@contextmanager
def open_verdicts() -> Iterator[Callable[[Snapshot, Table], None]]:
    """Give a view on standard error: a live table that goes at the end, else a line at times."""
    if not can_draw(sys.stderr):
        lines = _Lines(print_message)
        yield lambda snapshot, _: lines(snapshot.progress, _write_line(snapshot))
    else:
        with _open_live(sys.stderr, is_transient=True) as live:
            yield lambda _, table: _draw(live, table, sys.stderr)


@contextmanager
def open_table(*, as_json: bool) -> Iterator[Callable[[Snapshot], None]]:
    """Give a view on standard output: a live table on a terminal, else lines or JSON lines."""
    if as_json:
        yield _JsonLines()
    elif not can_draw(sys.stdout):
        lines = _Lines(print_text)
        yield lambda snapshot: lines(snapshot.progress, _write_line(snapshot))
    else:
        with _open_live(sys.stdout) as live:
            yield lambda snapshot: _draw(live, _watch(snapshot), sys.stdout)


def _draw_bars(bars: Bars, progress: Progress) -> None:
    """Draw a bar for all jobs together, and one for each that runs."""
    running = progress.running[:_MOST_BARS]
    ended, epochs = progress.jobs - progress.open_jobs, max(1, progress.epochs)
    title = f"{ended:,} of {plural(progress.jobs, 'job')} done"
    done = f"{progress.epochs_reached:.0f}/{epochs} epochs"
    bars.update(0, title, progress.epochs_reached, epochs, done)
    bars.remove_all_but({0, *(job.job_id for job in running)})
    for job in running:
        title = f"job {job.job_id}: {describe_field('keep', job.spec.keep)}, seed {job.spec.seed}"
        done = f"{job.epochs_reached:.0f}/{job.spec.epochs} epochs {_describe_figures(job)}"
        bars.update(job.job_id, title, job.epochs_reached, job.spec.epochs, done)


def _describe_figures(job: JobRow) -> str:
    accuracy = job.metrics.get("valid_accuracy")
    if accuracy is None:
        return describe_batches(job)
    return f"valid acc {format_metric('valid_accuracy', accuracy)}"


@contextmanager
def _open_live(stream: TextIO, *, is_transient: bool = False) -> Iterator[Live]:
    # A redirected standard output would no longer say which characters it takes.
    live = Live(
        console=Console(highlight=False, file=stream),
        transient=is_transient,
        auto_refresh=False,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    with sigint_blocked():
        live.start()
    try:
        yield live
    finally:
        with sigint_blocked():
            live.stop()


def _watch(snapshot: Snapshot) -> Table:
    """Make the table of `dq watch`, as high as the terminal is now."""
    lines = shutil.get_terminal_size().lines
    return watch_table(snapshot, max(1, lines - _OTHER_LINES), ascii=is_ascii_only(sys.stdout))


def _draw(live: Live, table: Table, stream: TextIO) -> None:
    """Draw the table in place of the last one, as wide as the terminal is now."""
    width = shutil.get_terminal_size().columns
    ascii, color = is_ascii_only(stream), can_color(stream)
    drawn = render(table, "table", width=width, color=color, ascii=ascii)
    live.update(Text.from_ansi(drawn, no_wrap=True), refresh=True)


class _JsonLines:
    """A JSON object a line, whenever a job got further."""

    _last: Any = None

    def __call__(self, snapshot: Snapshot) -> None:
        document = watch_document(snapshot)
        compared = [document[name] for name in ("states", "running", "workers", "is_paused")]
        if compared != self._last:
            print_text(to_json_line(document))
            self._last = compared


class _Lines:
    """A line at the start, at the end, and between them every ten seconds if there is news."""

    def __init__(self, print_line: Callable[[str], None]) -> None:
        self._print_line = print_line
        self._last, self._last_at = "", float("-inf")

    def __call__(self, progress: Progress, line: str) -> None:
        news = describe_progress(progress)
        is_due = not progress.open_jobs or time.monotonic() - self._last_at > _LINE_SECONDS
        if is_due and news != self._last:
            self._print_line(line)
            self._last, self._last_at = news, time.monotonic()


def _write_line(snapshot: Snapshot) -> str:
    rest = describe_rest(snapshot) if snapshot.is_open else ""
    parts = [describe_progress(snapshot.progress), rest, snapshot.obstacle or ""]
    text = ". ".join(part.rstrip(".") for part in parts if part)
    return printable(f"{snapshot.at:%H:%M:%S} {text}.", ascii=is_ascii_only(sys.stdout))
