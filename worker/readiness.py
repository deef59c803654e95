"""How a Celery process and its child say to the supervisor that they can take jobs."""

import os
from contextlib import suppress

TAKES_MESSAGES, RUNS_JOBS = READY = (b"takes messages\n", b"runs jobs\n")


def say(word: bytes) -> None:
    """Print a word to the supervisor, which reads this process' standard output."""
    with suppress(OSError):  # it is gone, and so will be this process
        os.write(1, word)
