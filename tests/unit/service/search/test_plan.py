import pytest

from models.errors import UsageError
from unit.service.search.simulation import BASE, make_space, plan_tuning


def test_a_grid_has_as_many_values_as_the_budget_allows_and_both_ends():
    plan = plan_tuning(budget=180)

    keeps = plan.values["keep"]
    assert (len(keeps), keeps[0], keeps[-1]) == (30, 0.4, 1)
    assert plan.runs == 180
    assert plan_tuning(budget=179).with_dropout < plan.with_dropout


def test_several_ranges_share_the_budget_evenly():
    plan = plan_tuning(budget=160, input_keep="0.7..1", lr="0.01..0.3")

    assert plan.counts == {"keep": 3, "lr": 3, "input_keep": 3}
    assert plan.values["lr"] == (0.01, 0.05, 0.3)
    assert plan.values["input_keep"] == (0.7, 0.85, 1)


@pytest.mark.parametrize(
    ("range", "count", "values"),
    [
        ("0.01..0.3", 4, (0.01, 0.03, 0.1, 0.3)),
        ("0.01..0.3", 6, (0.01, 0.02, 0.04, 0.08, 0.2, 0.3)),
        ("0.1..0.12", 4, (0.1, 0.106, 0.113, 0.12)),
    ],
)
def test_learning_rates_are_spaced_by_their_logarithms_in_few_digits(range, count, values):
    assert make_space(lr=range).spread("lr", count) == values


def test_a_range_without_so_many_numbers_is_refused():
    with pytest.raises(UsageError, match=r"There are no 9 numbers in 0\.1..0.10000000000000002"):
        make_space(lr="0.1..0.10000000000000002").spread("lr", 9)


@pytest.mark.parametrize("keep", ["0.4..1", "0.4..0.9", "0.8"])
def test_no_dropout_takes_part_at_each_learning_rate_whatever_the_ranges(keep):
    plan = plan_tuning(keep=keep, lr="0.05..0.5")

    without = [spec for spec in plan.grid if not spec.has_dropout]
    assert [spec.lr for spec in without] == list(plan.values["lr"])
    assert len(plan.grid) == len(set(plan.grid)) == plan.with_dropout + len(without)


def test_the_rungs_count_both_sides_and_each_run_once():
    plan = plan_tuning(budget=150, lr="0.05..0.5")

    assert [rung.seeds for rung in plan.rungs] == [3, 5, 9, 16]
    assert plan.rungs[0].candidates == len(plan.grid)
    assert plan.rungs[0].runs == 3 * len(plan.grid)
    assert len(plan.expected_specs) == len(set(plan.expected_specs)) == plan.runs + 10


def test_the_seeds_of_the_confirmation_are_the_plans_own():
    seeds = plan_tuning().confirmation_seeds

    others = [
        plan_tuning(**change).confirmation_seeds
        for change in ({"budget": 61}, {"confirm": 6}, {"keep": "0.5..1"}, {"sampler": "tpe"})
    ]
    assert seeds == plan_tuning().confirmation_seeds
    assert len(seeds) == 5
    assert seeds.start >= 1000
    assert all(set(seeds).isdisjoint(other) for other in others)


@pytest.mark.parametrize(
    ("ranges", "message"),
    [
        ({"keep": "0.8"}, "There is nothing to tune: give a range to --keep"),
        ({"keep": "1", "lr": "0.1..1"}, "There is no dropout to tune"),
        ({"keep": "0..1"}, "--keep 0..1: a keep probability is above 0 and at most 1"),
        ({"keep": "0.5..1.5"}, "--keep 0.5..1.5: a keep probability is above 0"),
        ({"lr": "0..1"}, "--lr 0..1: a learning rate is a finite number above 0"),
        ({"budget": 5}, "--budget 5 is too small: the smallest selection takes 9 runs"),
        ({"budget": 5, "sampler": "qmc"}, "the smallest selection takes 9 runs"),
        ({"budget": 11, "lr": "0.1..1"}, "the smallest selection takes 12 runs"),
    ],
)
def test_a_plan_that_finds_nothing_is_refused(ranges, message):
    with pytest.raises(UsageError) as refusal:
        plan_tuning(**ranges)

    assert message in str(refusal.value)


def test_the_specs_take_all_else_from_the_base():
    (spec, *_) = plan_tuning(input_keep="0.7..1").grid

    changed = {"keep": BASE.keep, "input_keep": 1.0}
    assert spec.model_copy(update=changed) == BASE
