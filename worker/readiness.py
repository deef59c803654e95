"""How a Celery process and its child report to the supervisor that they can take jobs."""

import os
from contextlib import suppress

TAKES_MESSAGES, RUNS_JOBS = READY = (b"takes messages\n", b"runs jobs\n")


def report(word: bytes) -> None:
    """Print one of these to the supervisor, which reads this process' standard output."""
    with suppress(OSError):  # it is gone, and this process ends soon
        os.write(1, word)
