"""Student's t test (1908), for a number of seeds that was fixed beforehand."""

import math
from typing import Any


def find_p(t: float, n: int) -> float:
    """Return the two-sided p of `t` over n differences, 2 or more."""
    return 2 * float(_scipy_special().stdtr(n - 1, -abs(t)))


def find_critical_t(n: int, alpha: float) -> float:
    """Return the least t whose p is `alpha`; infinite for fewer than 2 differences."""
    if n < 2:  # noqa: PLR2004 -- one difference has no spread
        return math.inf
    return float(_scipy_special().stdtrit(n - 1, 1 - alpha / 2))


def _scipy_special() -> Any:
    """Return scipy.special, which takes 0.25 s to import; few commands need it."""
    from scipy import special  # noqa: PLC0415

    return special
