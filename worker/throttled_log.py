"""A log of trouble that lasts: one line at once, then ever fewer, and one when it is over."""

import logging
import time
from typing import Any

_LONGEST_PAUSE_SECONDS = 60.0


class ThrottledLog:
    """Logs the failures of one thing that is tried again and again."""

    def __init__(self, logger: logging.Logger, what: str) -> None:
        self._logger, self._what = logger, what
        self._since: float | None = None
        self._next = self._pause = 0.0

    def warn(self, message: str, *arguments: object, **options: Any) -> None:
        """Log a failure, unless one was logged not long ago."""
        now = time.monotonic()
        if self._since is None:
            self._since, self._next, self._pause = now, now, 1.0
        if now >= self._next:
            self._logger.warning(message, *arguments, **options)
            self._next = now + self._pause
            self._pause = min(2 * self._pause, _LONGEST_PAUSE_SECONDS)

    def recover(self) -> None:
        """Log that it works again, if it failed before."""
        if self._since is not None:
            seconds = time.monotonic() - self._since
            self._logger.info("%s: works again after %.0f s", self._what, seconds)
            self._since = None
