import pytest

from models.errors import UsageError
from models.spec import ExperimentSpec
from service.specs.grid import expand
from service.specs.parsing import FieldValue


def axis(field, *values):
    option = f"--{field.replace('_', '-')}"
    return [FieldValue(field, value, f"{option} {value}") for value in values]


def test_no_axes_give_the_experiment_of_the_notebook():
    grid = expand([], [0])

    assert grid.specs == (ExperimentSpec(),)


def test_all_configurations_of_a_seed_come_before_the_next_seed():
    axes = [axis("keep", (0.9, 0.8, 0.8), ()), axis("lr", 0.1, 0.2)]

    specs = expand(axes, [3, 1]).specs

    assert [(spec.seed, spec.keep[0], spec.lr) for spec in specs] == [
        (seed, keep, lr) for seed in (3, 1) for keep in (0.9, 1.0) for lr in (0.1, 0.2)
    ]


def test_each_repeated_option_is_an_axis_and_the_last_one_varies_first():
    axes = [axis("hidden", (8,), (16,)), axis("epochs", 1, 2, 3)]

    specs = expand(axes, [0]).specs

    assert [(*spec.hidden, spec.epochs) for spec in specs] == [
        (8, 1),
        (8, 2),
        (8, 3),
        (16, 1),
        (16, 2),
        (16, 3),
    ]


@pytest.mark.parametrize(
    "values",
    [
        axis("lr", 0.1, 0.10),
        axis("keep", (), (1, 1, 1), (1.0, 1.0, 1.0)),
        axis("train_size", 50_000, 50_000),
        axis("hidden", (8192,) * 3, [8192] * 3),
    ],
)
def test_equal_values_are_one_configuration(values):
    grid = expand([values], [0, 1])

    assert len(grid.specs) == 2
    assert str(grid) == "1 configuration x 2 seeds = 2 jobs"


def test_a_seed_given_twice_counts_once():
    grid = expand([], [5, 0, 5])

    assert [spec.seed for spec in grid.specs] == [5, 0]
    assert grid.seeds == 2


@pytest.mark.parametrize(
    ("configurations", "seeds", "words"),
    [
        (2, 5, "2 configurations x 5 seeds = 10 jobs"),
        (1, 5, "1 configuration x 5 seeds = 5 jobs"),
        (2, 1, "2 configurations x 1 seed = 2 jobs"),
        (1, 1, "1 configuration x 1 seed = 1 job"),
        (3, 1000, "3 configurations x 1,000 seeds = 3,000 jobs"),
    ],
)
def test_a_grid_is_written_with_its_numbers(configurations, seeds, words):
    axes = [axis("epochs", *range(1, configurations + 1))]

    assert str(expand(axes, range(seeds))) == words


def test_an_impossible_combination_is_refused_with_the_option_as_it_was_typed():
    axes = [
        axis("hidden", (8, 8), (8, 8, 8)),
        [FieldValue("keep", (0.9, 0.8), "--dropout 0.9,0.8")],
    ]

    with pytest.raises(UsageError, match=r"^--dropout 0\.9,0\.8: .*for 3 hidden layers"):
        expand(axes, [0])


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_a_seed_that_no_spec_takes_is_refused(seed):
    with pytest.raises(UsageError, match=str(seed)):
        expand([], [seed])
