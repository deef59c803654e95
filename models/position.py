"""Where in its epoch a running job is: workers write it into its reason, clients read it."""

import re
from dataclasses import dataclass

_TEXT = re.compile(r"batch (\d+) of (\d+) of epoch (\d+)")


@dataclass(frozen=True)
class Position:
    """How many batches of the epoch under way are done, and which epoch it is, from 1."""

    batch: int
    batches: int
    epoch: int

    def __str__(self) -> str:
        return f"batch {self.batch} of {self.batches} of epoch {self.epoch}"

    @property
    def share(self) -> float:
        """How much of the epoch is done, from 0 to 1."""
        return self.batch / self.batches


def read_position(reason: str | None) -> Position | None:
    """Return the position that a running job's reason tells, or None if it tells none."""
    found = _TEXT.fullmatch(reason or "")
    return Position(*map(int, found.groups())) if found else None
