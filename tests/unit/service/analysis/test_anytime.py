import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from service.analysis.anytime import EFFECT_VARIANCE, find_critical_t, find_p

counts = st.integers(4, 1000)
alphas = st.floats(0.001, 0.5)


@pytest.mark.parametrize(("n", "t"), [(2, 3.0), (3, 1.0), (5, 4.0), (8, -2.5), (20, 3.5)])
def test_p_is_one_over_the_bayes_factor_of_a_normal_effect_against_none(n, t):
    """Under an effect of d spreads, t has the noncentral t distribution, shifted by d sqrt(n)."""

    def weigh(effect):
        prior = stats.norm.pdf(effect, scale=math.sqrt(EFFECT_VARIANCE))
        return prior * stats.nct.pdf(t, n - 1, effect * math.sqrt(n))

    factor = integrate.quad(weigh, -15, 15, limit=200)[0] / stats.t.pdf(t, n - 1)

    assert find_p(t, n) == pytest.approx(min(1.0, 1 / factor), rel=1e-6)


@pytest.mark.parametrize(
    ("n", "t"), [(4, 12.1), (5, 5.8), (6, 4.8), (8, 4.1), (10, 3.9), (15, 3.6), (20, 3.5)]
)
def test_the_least_t_that_decides_is_as_published(n, t):
    assert find_critical_t(n, 0.05) == pytest.approx(t, abs=0.05)


@given(counts, alphas)
def test_the_critical_t_has_p_alpha(n, alpha):
    critical = find_critical_t(n, alpha)

    if math.isfinite(critical):
        assert find_p(critical, n) == pytest.approx(alpha)
    else:
        assert find_p(math.inf, n) > alpha


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_fewer_than_four_differences_decide_nothing(n):
    assert find_critical_t(n, 0.05) == math.inf


@given(st.floats(0, 1e300), st.floats(0, 1e300), st.integers(2, 10**6))
def test_a_larger_t_has_a_smaller_p_between_0_and_1(a, b, n):
    low, high = sorted((a, b))

    assert 0 <= find_p(math.inf, n) <= find_p(high, n) * (1 + 1e-9)
    assert find_p(high, n) <= find_p(low, n) * (1 + 1e-9)
    assert find_p(low, n) == find_p(-low, n) <= 1
