"""Chooses what stands out in a chart of many lines."""

from collections.abc import Callable, Sequence
from typing import TypeVar

#: Of more lines than this, only the best few and the baseline's stand out.
MANY_LINES = 8
_BEST_LINES = 5

_T = TypeVar("_T")


def choose_prominent(
    lines: Sequence[_T], score: Callable[[_T], float], is_baseline: Callable[[_T], bool]
) -> list[_T]:
    """Return the lines that stand out: all, or of many the baseline's and those of best score."""
    if len(lines) <= MANY_LINES:
        return list(lines)
    ranked = sorted(lines, key=score, reverse=True)
    base = [line for line in ranked if is_baseline(line)]
    return [*base, *[line for line in ranked if not is_baseline(line)][:_BEST_LINES]]
