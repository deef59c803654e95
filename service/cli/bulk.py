"""What commands that change many jobs have in common: a question, progress, what Ctrl-C left."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import click

from service.cli.output import print_message, print_table
from service.cli.streams import draws
from service.formatting import plural
from service.operations.signals import sigint_blocked
from service.reports.table import Column, Format, Table

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement

    from models.database import Database
    from service.jobs import Change

#: Of more jobs than these a person is asked first, and sees progress.
MANY = 1000
#: Of more changes than these a table has a line a kind.
_MOST_LINES = 20
_LINE_SECONDS = 2.0


def yes_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --yes to a command, as its parameter `yes`."""
    text = f"Do not ask before more than {MANY:,} jobs are changed."
    return click.option("--yes", is_flag=True, help=text)(command)


def is_interactive() -> bool:
    """Whether a person is there to be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def confirm(question: str) -> None:
    """Ask a person; end the command unless the answer is yes."""
    try:
        is_wanted = click.confirm(question, err=True)
    except click.Abort:
        print_message("\nNothing was changed.")
        raise SystemExit(130) from None
    if not is_wanted:
        print_message("Nothing was changed.")
        raise SystemExit(1)


@contextmanager
def changing(
    database: "Database", which: "ColumnElement[bool]", done: str, again: str, *, yes: bool
) -> Iterator["BulkProgress"]:
    """Ask before many jobs are changed, and give what shows the progress of the change.

    `done` is what they are afterwards; `again` is what to type for the rest after Ctrl-C.
    """
    from service.queries.jobs import count_jobs

    number = count_jobs(database, which)
    if number > MANY and not yes and is_interactive():
        confirm(f"{number:,} jobs will be {done}. Go on?")
    with BulkProgress(done) as show:
        try:
            yield show
        except KeyboardInterrupt:
            show.stop()
            print_message(
                f"{show.done:,} of {plural(number, 'job')} {done}. For the rest type: {again}"
            )
            raise SystemExit(130) from None


class BulkProgress:
    """Shows on standard error how many jobs are done: a bar on a terminal, else a line at times.

    Use it as a context, and call it after each batch.
    """

    def __init__(self, verb: str) -> None:
        self.done = 0
        self._verb = verb
        self._bar: _Bar | None = None
        self._said_at = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self.stop()

    def __call__(self, done: int, total: int) -> None:
        """Show how many jobs are done."""
        self.done = done
        if total <= MANY:
            return
        if draws(sys.stderr):
            self._bar = self._bar or _Bar(self._verb, total)
            self._bar.update(done)
        elif done < total and time.monotonic() - self._said_at > _LINE_SECONDS:
            print_message(f"{done:,} of {plural(total, 'job')} {self._verb}")
            self._said_at = time.monotonic()

    def stop(self) -> None:
        """Leave the bar as it is."""
        if self._bar:
            self._bar.stop()
            self._bar = None


class _Bar:
    def __init__(self, verb: str, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._rich = Progress(
            TextColumn("{task.completed:,.0f} of {task.total:,.0f} jobs {task.description}"),
            BarColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._task = self._rich.add_task(verb, total=total)
        with sigint_blocked():
            self._rich.start()

    def update(self, done: int) -> None:
        self._rich.update(self._task, completed=done)

    def stop(self) -> None:
        with sigint_blocked():
            self._rich.stop()


def print_changes(changes: Sequence["Change"], format: Format) -> None:
    """Print what became of jobs: a line a job, or of many a line for all that fared alike."""
    from service.reports.job_tables import change_table

    is_long = format == "table" and len(changes) > _MOST_LINES
    print_table(
        _summarise(changes) if is_long else change_table(changes), format, "The jobs are changed."
    )
    if not changes:
        print_message("No job is in that state.")


def _summarise(changes: Sequence["Change"]) -> Table:
    from service.formatting import format_ids

    kinds: dict[str, list[int]] = {}
    for each in changes:
        kinds.setdefault(each.change, []).append(each.job_id)
    most = 8 if sys.stdout.isatty() else len(changes)
    rows = [
        {"change": change, "jobs": len(ids), "ids": format_ids(ids, most)}
        for change, ids in kinds.items()
    ]
    columns = (
        Column("change", "what happened"),
        Column("jobs", "jobs", "{:,}".format, "right"),
        Column("ids", "which"),
    )
    return Table(columns, rows)
