"""Prepares the three standard streams: each is open, and an error in one is one message."""

import os
import sys
from io import BufferedWriter, FileIO, TextIOWrapper
from typing import Any

from models.errors import OutputFailed

#: What Python makes of LC_CTYPE where LANG=C: https://peps.python.org/pep-0538/
_COERCED = {"C.UTF-8", "C.utf8", "UTF-8"}
_DUMB = {"", "dumb", "unknown"}


def prepare() -> None:
    """Open closed streams on /dev/null, before a file takes their numbers, and handle their errors.

    On a terminal with the locale C both outputs are ASCII; Python would make them UTF-8.
    """
    for number in range(3):
        _open_if_closed(number)
    sys.stdin = sys.stdin or open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - open to the end
    sys.stdout = _wrap(_Output(1, "w", closefd=False), sys.stdout, "strict")
    sys.stderr = _wrap(_Messages(2, "w", closefd=False), sys.stderr, "backslashreplace")


def can_draw(stream: Any) -> bool:
    """Whether a stream is a terminal that obeys escape sequences."""
    return bool(stream.isatty()) and os.environ.get("TERM", "") not in _DUMB


def can_color(stream: Any) -> bool:
    """Whether a stream is a terminal whose user wants colours."""
    return can_draw(stream) and not os.environ.get("NO_COLOR")


def is_ascii_only(stream: Any) -> bool:
    """Whether a stream takes ASCII alone."""
    return not (stream.encoding or "ascii").lower().startswith("utf")


def end_line() -> None:
    """End the line in which a terminal shows "^C"."""
    if sys.stderr.isatty():
        sys.stderr.write("\n")


class _Output(FileIO):
    """Standard output that raises OutputFailed, or BrokenPipeError if nobody reads it."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            raise
        except OSError as error:
            # Else the rest of the buffers fails again at exit, with a traceback.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            raise OutputFailed(f"Standard output cannot be written: {error.strerror}.") from error


class _Messages(FileIO):
    """Standard error, whose errors end no command."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError:
            return len(data)


def _wrap(raw: FileIO, was: Any, errors: str) -> TextIOWrapper:
    """Write text to a stream as Python does, unless it is a terminal with the locale C."""
    encoding, errors = getattr(was, "encoding", "utf-8"), getattr(was, "errors", errors)
    if raw.isatty() and _locale() in {"C", "POSIX"}:
        encoding, errors = "ascii", "backslashreplace"
        os.environ["PYTHONIOENCODING"] = f"{encoding}:{errors}"  # of the worker's program, too
    return TextIOWrapper(BufferedWriter(raw), encoding, errors, line_buffering=True)


def _open_if_closed(number: int) -> None:
    try:
        os.fstat(number)
    except OSError:
        os.open(os.devnull, os.O_RDWR)  # it gets the lowest number that is free: this one


def _locale() -> str:
    """Return the locale for characters that a person chose."""
    chosen = os.environ.get("LC_CTYPE", "")
    chosen = "" if chosen in _COERCED else chosen
    return os.environ.get("LC_ALL") or chosen or os.environ.get("LANG", "")
