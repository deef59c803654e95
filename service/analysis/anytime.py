"""The any-time t test, whose p and interval hold however often seeds are added and looked at.

With n differences, t their mean over its standard error, and v = n - 1, the evidence against
"no difference" is the Bayes factor of an effect drawn from N(0, g), in units of the spread:

    e = (1 + n g)^(-1/2) * ((1 + t^2 / v) / (1 + t^2 / (v (1 + n g))))^(n / 2)

If nothing differs, e ever reaches 1 / alpha with probability alpha at most, over all n together
(Ville 1939), so p = 1 / e. Hendriksen, de Heide and Gruenwald (2021), "Optional stopping with Bayes
factors"; Perez-Ortiz, Lardy, de Heide and Gruenwald (2022), "E-statistics, group invariance and
anytime-valid testing"; Wang and Ramdas (2023), "Anytime-valid t-tests", arXiv 2310.03722.
"""

import math

#: The variance of the expected effect, g; 1 and 4 decide as soon within a seed.
EFFECT_VARIANCE = 2.0


def find_p(t: float, n: int) -> float:
    """Return the two-sided p of `t` over n differences, 2 or more; t may be infinite."""
    return math.exp(min(0.0, -_find_log_evidence(t, n)))


def find_critical_t(n: int, alpha: float) -> float:
    """Return the least t whose p is `alpha`; infinite where n differences cannot give it."""
    if n < 2:  # noqa: PLR2004 -- one difference has no spread
        return math.inf
    growth, freedom = 1 + n * EFFECT_VARIANCE, n - 1
    log_ratio = 2 / n * (math.log(growth) / 2 - math.log(alpha))
    if log_ratio >= math.log(growth):
        return math.inf
    ratio = math.exp(log_ratio)
    return math.sqrt(freedom * (ratio - 1) / (1 - ratio / growth))


def _find_log_evidence(t: float, n: int) -> float:
    growth, freedom = 1 + n * EFFECT_VARIANCE, n - 1
    if math.isinf(t * t):
        return (n - 1) / 2 * math.log(growth)
    square = t * t / freedom
    return n / 2 * (math.log1p(square) - math.log1p(square / growth)) - math.log(growth) / 2
