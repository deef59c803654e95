"""The tasks that every queue runs: one does nothing, the last one notes the time."""

import os
import time

from redis import Redis

URL = os.environ.get("BENCH_REDIS_URL", "redis://localhost:6379/0")
#: Where the last task leaves the time at which it ran.
DONE = "bench:done"


def do_nothing() -> None:
    """Be the task that is timed."""


def note_time() -> None:
    """Be the last task: one process runs all in order, so that those before it are done."""
    with Redis.from_url(URL) as client:
        client.set(DONE, repr(time.time()))
