"""The two tasks that every queue runs: one does nothing, the last one notes the time."""

import os
import time

from redis import Redis

URL = os.environ.get("BENCH_REDIS_URL", "redis://localhost:6379/0")
#: Where the last task leaves the time at which it ran.
DONE = "bench:done"


def do_nothing() -> None:
    """Be the task that is timed."""


def say_when() -> None:
    """Be the last task: all before it are done, for there is one process, and it keeps order."""
    with Redis.from_url(URL) as client:
        client.set(DONE, repr(time.time()))
