import pytest

from models.errors import UsageError
from models.message import Priority
from service.web.forms import Form, read_options, read_specs


def test_values_separated_by_spaces_make_the_grid_of_repeated_options():
    form = Form(
        dropout="0.9,0.8 none", hidden="32x2", lr="0.1  0.05", seeds="3", dataset="", epochs="2"
    )

    grid = read_specs(form)

    assert str(grid) == "4 configurations x 3 seeds = 12 jobs"
    assert {spec.lr for spec in grid.specs} == {0.1, 0.05}
    assert {spec.keep for spec in grid.specs} == {(0.9, 0.8), (1.0, 1.0)}


def test_an_empty_form_is_the_experiment_of_the_notebook():
    (spec,) = read_specs(Form()).specs

    assert spec.hidden == (8192, 8192, 8192)
    assert spec.seed == 0


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"lr": "fast"}, "--lr fast: a learning rate is a finite number"),
        ({"epochs": "1.5"}, "--epochs 1.5: epochs are a whole number"),
        ({"dropout": "0.9,0.8"}, "2 rates for 3 hidden layers"),
        ({"dataset": "cats"}, "unknown data set"),
        ({"seeds": "many"}, "write how many"),
        ({"batch_size": "0"}, "--batch-size 0"),
    ],
)
def test_a_wrong_value_gets_the_error_of_the_command_line(form, message):
    with pytest.raises(UsageError, match=message):
        read_specs(Form(form))


def test_the_options_of_a_submit_are_read():
    options = read_options(Form(name=" first ", tags="paper, final ,", priority="high"))

    assert options.name == "first"
    assert options.tags == ("paper", "final")
    assert options.priority == Priority.HIGH
    assert options.reuse
    assert not read_options(Form(force="1")).reuse


def test_an_unknown_priority_is_refused():
    with pytest.raises(UsageError, match="priority"):
        read_options(Form(priority="urgent"))
