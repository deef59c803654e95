from statistics import fmean

import pytest

from bench.tuning import CANDIDATES, NEAR, TRUTHS, simulate


@pytest.mark.parametrize("truth", TRUTHS, ids=lambda truth: truth.what)
def test_a_tuning_ends_near_the_best_and_its_interval_covers_the_truth(truth):
    outcomes = simulate(truth, 0, 100)

    assert fmean(each.loss < NEAR for each in outcomes) >= 0.9
    assert fmean(each.is_covered for each in outcomes) >= 0.88


def test_a_mean_that_was_chosen_is_too_good_and_most_of_all_that_of_a_single_seed():
    outcomes = simulate(TRUTHS[-1], 0, 100)

    assert fmean(each.sweep_optimism for each in outcomes) > 1
    assert 0.2 < fmean(each.optimism for each in outcomes) < 0.6
    assert CANDIDATES == 29
