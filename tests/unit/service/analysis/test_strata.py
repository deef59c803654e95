from dataclasses import dataclass

from models.spec import ExperimentSpec
from service.analysis.strata import group_by_stratum


@dataclass(frozen=True)
class Item:
    number: int
    spec: ExperimentSpec


def group(specs, factors):
    """Group items with these specs; return their numbers, which count up from 1."""
    items = [Item(number, ExperimentSpec(**spec)) for number, spec in enumerate(specs, start=1)]
    return [[item.number for item in stratum] for stratum in group_by_stratum(items, factors)]


def test_a_stratum_is_what_is_equal_but_for_the_factors_and_the_seed():
    specs = [
        {"lr": 0.1, "keep": (0.5,)},
        {"lr": 0.3, "keep": (0.5,)},
        {"lr": 0.1, "seed": 1},
        {"lr": 0.3, "keep": (0.8,)},
    ]

    assert group(specs, {"keep"}) == [[1, 3], [2, 4]]
    assert group(specs, {"keep", "lr"}) == [[1, 2, 3, 4]]
    assert group(specs, {"lr"}) == [[1, 2], [3], [4]]


def test_no_dropout_is_one_rate_whatever_the_number_of_layers():
    specs = [{"hidden": (8, 8)}, {"hidden": (8, 8, 8)}, {"hidden": (8, 8), "keep": (0.5,)}]

    assert group(specs, {"hidden"}) == [[1, 2], [3]]
    assert group(specs, {"keep"}) == [[1, 3], [2]]


def test_nothing_has_no_strata():
    assert group([], {"keep"}) == []
