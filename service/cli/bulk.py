"""What commands that change many jobs share: a question, the progress, what Ctrl-C left undone."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import click
from sqlalchemy import ColumnElement

from models.database import Database
from models.errors import UsageError
from service.cli.output import command_line, print_message, print_table
from service.cli.progress_views import Bars
from service.cli.streams import can_draw
from service.formatting import format_ids, plural
from service.jobs import Change
from service.queries.jobs import count_jobs
from service.reports.job_tables import change_table
from service.reports.table import Column, Format, Table

#: Before more jobs than these are changed, a person is asked, and sees progress.
MANY = 1000
#: A table of more changes than this has a line a kind.
_MOST_LINES = 20
#: The most ranges of ids in such a line on a terminal.
_MOST_RANGES = 8
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
        is_confirmed = click.confirm(question, err=True)
    except click.Abort:
        print_message("\nNothing was changed.")
        raise SystemExit(130) from None
    if not is_confirmed:
        print_message("Nothing was changed.")
        raise SystemExit(1)


def confirm_deletion(what: str) -> None:
    """Ask a person before what cannot be undone; where nobody is, have them type --yes."""
    if not is_interactive():
        raise UsageError(f"{what} That cannot be undone. Type: {command_line()} --yes")
    confirm(f"{what} Go on?")


@contextmanager
def changing(
    database: Database, which: ColumnElement[bool], done: str, *, yes: bool
) -> Iterator["BulkProgress"]:
    """Ask before many jobs are changed, and give what shows the progress of the change.

    `done` is what the jobs are afterwards: "cancelled".
    """
    number = count_jobs(database, which)
    if number > MANY and not yes and is_interactive():
        confirm(f"{number:,} jobs will be {done}. Go on?")
    with BulkProgress(done) as show:
        try:
            yield show
        except KeyboardInterrupt:
            show.stop()
            jobs = f"{show.done:,} of {plural(number, 'job')} {done}"
            print_message(f"{jobs}. For the rest type: {command_line()}")
            raise SystemExit(130) from None


class BulkProgress:
    """Shows on standard error how many jobs are done: a bar on a terminal, else a line at times.

    Use it as a context, and call it after each batch. Of up to `few` jobs it shows nothing.
    """

    def __init__(self, verb: str, few: int = MANY) -> None:
        self.done = 0
        self._verb = verb
        self._few = few
        self._bars = Bars()
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
        text = f"{done:,} of {plural(total, 'job')} {self._verb}"
        if total <= self._few:
            return
        if can_draw(sys.stderr):
            self._bars.update(0, text, done, total)
        elif done < total and time.monotonic() - self._said_at > _LINE_SECONDS:
            print_message(text)
            self._said_at = time.monotonic()

    def stop(self) -> None:
        """Leave the bar as it is."""
        self._bars.stop()


def print_changes(changes: Sequence[Change], format: Format) -> None:
    """Print what became of jobs: a line a job, or of many jobs a line a kind of change."""
    is_long = format == "table" and len(changes) > _MOST_LINES
    table = _summarise(changes) if is_long else change_table(changes)
    print_table(table, format, "The jobs are changed.")
    if not changes:
        print_message("No job is in that state.")


def _summarise(changes: Sequence[Change]) -> Table:
    kinds: dict[str, list[int]] = {}
    for each in changes:
        kinds.setdefault(each.change, []).append(each.job_id)
    most = _MOST_RANGES if sys.stdout.isatty() else len(changes)
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
