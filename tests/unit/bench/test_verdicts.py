import numpy as np

from bench.verdicts import list_cases


def check_all() -> list[bool]:
    draws = np.random.default_rng(17)
    return [is_alike for case in list_cases() for is_alike in case.check(10, draws)]


def test_the_simulated_verdicts_and_intervals_are_those_of_compare():
    checks = check_all()

    assert len(checks) > 300
    assert all(checks)


def test_a_comparison_that_does_not_correct_its_p_is_noticed(monkeypatch):
    monkeypatch.setattr("service.analysis.statistics.correct_by_holm", list)

    assert not all(check_all())
