"""Waits for jobs to end, telling how far they are."""

import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import ColumnElement

from models.database import Database
from models.errors import DatabaseRefused, DatabaseUnreachable, WaitTimedOut
from service.formatting import plural
from service.queries.progress import measure_progress
from service.queries.rows import Progress

_POLL_SECONDS = 0.3
_PATIENCE_SECONDS = 60.0

Looked = TypeVar("Looked")


def wait(
    database: Database,
    which: ColumnElement[bool],
    timeout: float | None,
    show: Callable[[Progress], None],
) -> Progress:
    """Return once no selected job is queued or running; raise WaitTimedOut if that takes too long.

    `timeout` is in seconds. `show` is called with each look taken.
    """
    deadline = time.monotonic() + timeout if timeout else None
    while True:
        progress = retry_while_unreachable(lambda: measure_progress(database, which))
        show(progress)
        if not progress.open_jobs:
            return progress
        if deadline and time.monotonic() > deadline:
            are = "is" if progress.open_jobs == 1 else "are"
            raise WaitTimedOut(
                f"{progress.open_jobs:,} of {plural(progress.jobs, 'job')} {are} not done after "
                f"{timeout:g} s. They go on. Type: dq status"
            )
        time.sleep(_POLL_SECONDS)


def retry_while_unreachable(look: Callable[[], Looked]) -> Looked:
    """Look at the database; while it is away, as when it restarts, try again for a minute."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return look()
        except DatabaseRefused:
            raise
        except DatabaseUnreachable:
            if time.monotonic() > deadline:
                raise
            time.sleep(_POLL_SECONDS)
