import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.analysis.statistics import ALPHA, correct_by_holm


def test_holm_gives_the_values_worked_by_hand():
    assert correct_by_holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert correct_by_holm([0.6, 0.9]) == [1.0, 1.0]
    assert correct_by_holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=6))
def test_holm_rejects_what_the_step_down_procedure_rejects(ps):
    rejected = set()
    for rank, index in enumerate(sorted(range(len(ps)), key=lambda index: ps[index])):
        if (len(ps) - rank) * ps[index] >= ALPHA:
            break
        rejected.add(index)

    corrected = correct_by_holm(ps)

    assert {index for index, p in enumerate(corrected) if p < ALPHA} == rejected
    assert all(raw <= p <= 1 for raw, p in zip(ps, corrected, strict=True))
