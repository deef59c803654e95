import pytest

from models.errors import UsageError
from models.message import Priority
from service.web.forms import read_order, read_specs, warn


def test_values_apart_by_spaces_make_the_grid_that_repeated_options_make():
    grid = read_specs(
        {
            "dropout": "0.9,0.8 none",
            "hidden": "32x2",
            "lr": "0.1  0.05",
            "seeds": "3",
            "dataset": "",
        }
    )

    assert str(grid) == "4 configurations x 3 seeds = 12 jobs"
    assert {spec.lr for spec in grid.specs} == {0.1, 0.05}
    assert {spec.keep for spec in grid.specs} == {(0.9, 0.8), (1.0, 1.0)}


def test_an_empty_form_is_the_notebook_s_experiment():
    (spec,) = read_specs({}).specs

    assert spec.hidden == (8192, 8192, 8192)
    assert spec.seed == 0


@pytest.mark.parametrize(
    ("form", "told"),
    [
        ({"lr": "fast"}, "--lr fast: write a number"),
        ({"epochs": "1.5"}, "--epochs 1.5: write a whole number"),
        ({"dropout": "0.9,0.8"}, "2 rates for 3 hidden layers"),
        ({"dataset": "cats"}, "unknown data set"),
        ({"seeds": "many"}, "write how many"),
        ({"batch_size": "0"}, "--batch-size 0"),
    ],
)
def test_what_is_no_experiment_is_refused_in_the_words_of_the_command_line(form, told):
    with pytest.raises(UsageError, match=told):
        read_specs(form)


def test_the_sweep_s_own_fields_are_read():
    order = read_order({"name": " first ", "tags": "paper, final ,", "priority": "high"})

    assert order.name == "first"
    assert order.tags == ("paper", "final")
    assert order.priority == Priority.HIGH
    assert order.reuse
    assert not read_order({"force": "1"}).reuse


def test_a_priority_that_is_none_is_refused():
    with pytest.raises(UsageError, match="priority"):
        read_order({"priority": "urgent"})


def test_low_keep_probabilities_get_the_warning_of_the_command_line():
    assert "--drop 0.1,0.1" in (warn({"dropout": "0.1,0.1"}) or "")
