"""Shows on standard output how far jobs are: a live table, a line now and then, or JSON lines."""

import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from service.cli.output import print_text
from service.cli.streams import colors, draws, is_plain
from service.formatting import printable
from service.operations.signals import sigint_blocked
from service.queries.watching import Snapshot
from service.reports.job_tables import describe_progress, describe_rest, watch_document, watch_table
from service.reports.table import render, to_json_line

if TYPE_CHECKING:
    from rich.live import Live

_LINE_SECONDS = 10.0
#: The lines of a terminal that the rows of the live table leave to all else.
_OTHER_LINES = 11


@contextmanager
def open_view(*, as_json: bool) -> Iterator[Callable[[Snapshot], None]]:
    """Give what shows each look in the way that suits standard output."""
    if as_json:
        yield _JsonLines().show
    elif draws(sys.stdout):
        with _live() as live:
            yield lambda snapshot: _draw(live, snapshot)
    else:
        yield _Lines().show


@contextmanager
def _live() -> Iterator["Live"]:
    from rich.console import Console
    from rich.live import Live

    # A redirected standard output would no longer say which characters it takes.
    live = Live(
        console=Console(highlight=False),
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


def _draw(live: "Live", snapshot: Snapshot) -> None:
    """Draw the table in place of the one before, as wide and as high as the terminal is now."""
    from rich.text import Text

    columns, lines = shutil.get_terminal_size()
    plain, color = is_plain(sys.stdout), colors(sys.stdout)
    table = watch_table(snapshot, max(1, lines - _OTHER_LINES), ascii=plain)
    drawn = render(table, "table", width=columns, color=color, ascii=plain)
    live.update(Text.from_ansi(drawn, no_wrap=True), refresh=True)


class _JsonLines:
    """An object a line, whenever a job got further."""

    _last: Any = None

    def show(self, snapshot: Snapshot) -> None:
        """Print the snapshot if it is news."""
        document = watch_document(snapshot)
        told = [document[name] for name in ("states", "running", "workers", "is_paused")]
        if told != self._last:
            print_text(to_json_line(document))
            self._last = told


class _Lines:
    """A line at the start, at the end, and now and then between."""

    _last, _last_at = "", float("-inf")

    def show(self, snapshot: Snapshot) -> None:
        """Print the snapshot if it is news and the last line is a while ago."""
        line = describe_progress(snapshot.progress)
        is_due = not snapshot.is_open or time.monotonic() - self._last_at > _LINE_SECONDS
        if is_due and line != self._last:
            parts = [
                line,
                describe_rest(snapshot) if snapshot.is_open else "",
                snapshot.obstacle or "",
            ]
            text = ". ".join(part.rstrip(".") for part in parts if part)
            print_text(printable(f"{snapshot.at:%H:%M:%S} {text}.", ascii=is_plain(sys.stdout)))
            self._last, self._last_at = line, time.monotonic()
