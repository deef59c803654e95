"""How an attempt ends that records no result."""

import logging
import traceback
from dataclasses import dataclass, replace

from sqlalchemy.exc import SQLAlchemyError

from models.errors import DqError
from models.state import Outcome

#: A job whose writes the database refused is tried again after that long.
_BACK_OFF_SECONDS = 30.0
_LONGEST_CAUSE = 500  # characters


@dataclass(frozen=True)
class Ending:
    """The outcome of an attempt, and why; `detail` may hold a traceback."""

    outcome: Outcome
    reason: str
    detail: str = ""
    #: How long a released job waits before its next attempt.
    back_off_seconds: float = 0.0
    #: Whether a released job is to run alone from now on.
    is_suspect: bool = False

    @property
    def log_level(self) -> int:
        """How much the ending should worry a person."""
        if self.outcome == Outcome.FAILED or self.back_off_seconds:
            return logging.ERROR
        return logging.WARNING if self.outcome == Outcome.LOST or self.is_suspect else logging.INFO

    def as_ascii(self) -> "Ending":
        """Return it with other characters escaped."""
        return replace(self, reason=ascii(self.reason), detail=ascii(self.detail))


CANCELLED = Ending(Outcome.CANCELLED, "cancelled while running")
RELEASED = Ending(Outcome.RELEASED, "the worker was told to stop")
#: Another attempt may own the job: nothing is written.
LEASE_LOST = Ending(Outcome.LOST, "the lease was lost")


def fail(reason: str) -> Ending:
    """Return the ending of an experiment that failed."""
    return Ending(Outcome.FAILED, reason)


def ending_of(error: Exception, *, is_alone: bool) -> Ending:
    """Return how an error ends an attempt: it is the job's fault only if no other ran with it."""
    if isinstance(error, SQLAlchemyError):
        cause = storable(" ".join(str(error).split())[:_LONGEST_CAUSE])
        reason = f"the database failed: {cause}"
        return Ending(Outcome.RELEASED, reason, back_off_seconds=_BACK_OFF_SECONDS)
    if not is_alone:
        reason = storable(f"failed together with others: {error!r}")
        return Ending(Outcome.RELEASED, reason, is_suspect=True)
    detail = "".join(traceback.format_exception(error))
    return Ending(Outcome.FAILED, storable(_describe(error)), storable(detail))


def storable(text: str) -> str:
    """Escape what a database refuses: NUL, and halves of characters."""
    return text.encode(errors="backslashreplace").decode().replace("\0", "\\x00")


def _describe(error: Exception) -> str:
    """Put an error in one line; a DqError's message needs no class name."""
    return str(error) if isinstance(error, DqError) else f"{type(error).__name__}: {error}"
