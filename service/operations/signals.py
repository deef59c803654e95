"""Has Ctrl-C wait while it would tear something apart."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

_CTRL_C = {signal.SIGINT}


@contextmanager
def sigint_blocked() -> Iterator[None]:
    """Have Ctrl-C take effect after a `with`; a process started in it begins with it blocked."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _CTRL_C)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _CTRL_C)
