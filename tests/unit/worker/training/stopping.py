"""Trainings that are told to stop."""

import itertools
from collections.abc import Callable


class Stop(Exception):
    pass


def stop_before(batch: int) -> Callable[[], None]:
    """Return a `before_batch` that raises at the given batch of the run, counted from 0."""
    calls = itertools.count()

    def before_batch() -> None:
        if next(calls) == batch:
            raise Stop

    return before_batch
