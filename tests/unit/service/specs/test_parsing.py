import json

import pytest

from models.errors import UsageError
from models.spec import ExperimentSpec
from service.specs.grid import build_spec, expand
from service.specs.parsing import FieldValue, parse_drop, parse_hidden, parse_keep, parse_row

#: For each field a value that is not its default, and how a CSV has it.
AS_TEXT = {
    "dataset": ("digits", "digits"),
    "train_size": (1000, "1000"),
    "hidden": ((16, 32, 64), "16,32,64"),
    "keep": ((0.9, 0.8, 1.0), "0.9,0.8,1"),
    "lr": (0.30000000000000004, "0.30000000000000004"),
    "batch_size": (200, "200"),
    "epochs": (11, "11"),
    "input_keep": (0.8, ".8"),
    "mask": ("sample", "sample"),
    "momentum": (0.9, "0.9"),
    "max_norm": (2.0, "2"),
    "lr_decay": (0.5, "5e-1"),
    "evaluation": ("test", "test"),
    "precision": ("bf16", "bf16"),
    "seed": (2**63 - 1, str(2**63 - 1)),
}

#: A row, and the options that give the same spec.
SAME_AS_OPTIONS = [
    ({"keep": "0.9,0.8,0.8"}, "--dropout 0.9,0.8,0.8"),
    ({"keep": [0.9, 0.8, 0.8]}, "--dropout 0.9,0.8,0.8"),
    ({"dropout": [0.9, 0.8, 1]}, "--dropout 0.9,0.8,1"),
    ({"keep": "none"}, "--dropout none"),
    ({"keep": 0.8}, "--dropout 0.8x3"),
    ({"drop": "0.2"}, "--dropout 0.8"),
    ({"dropout": "0.8x3"}, "--dropout 0.8,0.8,0.8"),
    ({"keep": []}, "--dropout none"),
    ({"keep": 0.9, "hidden": 8}, "--dropout 0.9 --hidden 8"),
    ({"drop": "0.1,0.2,0.2"}, "--drop 0.1,0.2,0.2"),
    ({"drop": [0.1, 0.2, 0.2]}, "--dropout 0.9,0.8,0.8"),
    ({"drop": 0, "hidden": 8}, "--drop 0 --hidden 8"),
    ({"drop": "none"}, "--drop none"),
    ({"drop": []}, "--drop none"),
    ({"hidden": "512x3"}, "--hidden 512x3"),
    ({"hidden": "512,512,512"}, "--hidden 512x3"),
    ({"hidden": [512, 256, 128]}, "--hidden 512,256,128"),
    ({"hidden": 512}, "--hidden 512"),
    ({"batch-size": 50, "train-size": "500"}, "--batch-size 50 --train-size 500"),
    ({" lr ": " 0.2"}, "--lr 0.2"),
    ({"max_norm": None, "train_size": None}, ""),
]


def read(row):
    return build_spec(parse_row(row, "specs.csv row 1"))


def test_every_field_of_a_spec_has_a_text():
    assert AS_TEXT.keys() == ExperimentSpec.model_fields.keys()


@pytest.mark.parametrize("field", AS_TEXT)
def test_text_is_converted_to_the_type_of_the_field(field):
    value, text = AS_TEXT[field]
    rest = {"batch_size": "100"} if field in {"dataset", "train_size"} else {}

    spec = read({field: text, **rest})

    assert getattr(spec, field) == value
    assert type(getattr(spec, field)) is type(value)


@pytest.mark.parametrize("field", AS_TEXT)
def test_empty_text_means_the_default(field):
    assert read({field: ""}) == ExperimentSpec()


@pytest.mark.parametrize(("row", "options"), SAME_AS_OPTIONS, ids=str)
def test_a_row_gives_the_same_spec_as_the_options(dq, row, options):
    typed = dq("submit", "--dry-run", "--json", *options.split())

    assert read(row).model_dump(mode="json") == json.loads(typed.stdout)[0]


def test_a_drop_probability_of_three_digits_is_exactly_the_keep_probability_a_person_would_write():
    for n in range(1000):
        dropped = parse_drop(str(n / 1000)).value

        assert dropped == ((1000 - n) / 1000,)
        assert read({"drop": [n / 1000], "hidden": 8}).keep == dropped


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"keep": "abc"}, "keep abc: write a number for each hidden layer, 0.9,0.8,0.8 or 0.8x3"),
        ({"keep": "0.9;0.8"}, "keep 0.9;0.8: write a number for each hidden layer"),
        ({"dropout": [0.9, None]}, "dropout 0.9,None: write a number for each hidden layer"),
        ({"drop": True}, "drop True: write a number for each hidden layer"),
        (
            {"hidden": "512x"},
            "hidden 512x: write a number for each hidden layer, 512,512,512 or 512x3",
        ),
        ({"hidden": "512x0"}, "hidden 512x0: write a number for each hidden layer"),
        ({"hidden": "512x101"}, "hidden 512x101: write a number for each hidden layer"),
        ({"hidden": -8}, "hidden -8: a layer's width is a whole number from 1"),
        ({"keep": [1.5, 1, 1]}, "keep 1.5,1,1: a keep probability is above 0 and at most 1"),
        ({"drop": [1, 0, 0]}, "drop 1,0,0: a drop probability is at least 0 and below 1"),
        ({"momentum": 1}, "momentum 1: a momentum is at least 0 and below 1"),
        ({"mask": "row"}, "mask row: "),
    ],
    ids=str,
)
def test_a_bad_value_is_refused_with_the_row_and_the_value(row, message):
    with pytest.raises(UsageError) as refusal:
        read(row)

    assert f"specs.csv row 1: {message}" in str(refusal.value)


@pytest.mark.parametrize("value", [True, False])
@pytest.mark.parametrize("field", ["epochs", "lr", "batch_size", "seed"])
def test_a_boolean_is_not_a_number(field, value):
    with pytest.raises(UsageError, match=f"{field} {value}"):
        read({field: value})


@pytest.mark.parametrize("cells", [{"keep": " none"}, {"epochs": " "}, {"keep": " 0.9, 0.8, 0.8"}])
def test_spaces_around_a_cell_are_ignored(cells):
    assert read(cells) == read({name: cell.strip() for name, cell in cells.items()})


def test_a_value_keeps_its_origin_for_errors():
    assert parse_keep("0.9,0.8") == FieldValue("keep", (0.9, 0.8), "--dropout 0.9,0.8")
    assert parse_drop("none") == FieldValue("keep", (), "--drop none")
    assert parse_hidden("8x2") == FieldValue("hidden", (8, 8), "--hidden 8x2")
    assert parse_row({"lr": 1}, "here") == [FieldValue("lr", 1, "here: lr 1")]


def hidden(*widths):
    return FieldValue("hidden", widths, f"--hidden {widths}")


#: The specs of jobs that others are to be like.
LIKE = ExperimentSpec(
    dataset="digits", hidden=(8, 8), lr=0.3, batch_size=50, epochs=3, max_norm=2.0, seed=7
)
LIKE_DROPOUT = LIKE.model_copy(update={"keep": (0.9, 0.8)})


def test_a_field_that_is_not_given_is_as_in_the_base():
    assert build_spec([], LIKE_DROPOUT) == LIKE_DROPOUT
    assert build_spec([FieldValue("lr", 0.1, "--lr 0.1")], LIKE) == LIKE.model_copy(
        update={"lr": 0.1}
    )


def test_a_base_without_dropout_gives_none_to_any_number_of_layers():
    spec = build_spec([hidden(8, 8, 8)], LIKE)

    assert spec == LIKE.model_copy(update={"hidden": (8, 8, 8), "keep": (1.0, 1.0, 1.0)})


def test_the_dropout_of_the_base_stays_with_the_same_number_of_layers():
    spec = build_spec([hidden(16, 16)], LIKE_DROPOUT)

    assert (spec.hidden, spec.keep) == ((16, 16), (0.9, 0.8))


def test_given_dropout_replaces_that_of_the_base():
    spec = build_spec([hidden(8), FieldValue("keep", (0.5,), "--dropout 0.5")], LIKE_DROPOUT)

    assert (spec.hidden, spec.keep) == ((8,), (0.5,))


def test_dropout_of_the_base_for_another_number_of_layers_is_refused():
    with pytest.raises(UsageError, match="2 rates for 3 hidden layers: write 3"):
        build_spec([hidden(8, 8, 8)], LIKE_DROPOUT)


@pytest.mark.parametrize(
    ("value", "base", "option"),
    [
        (hidden(8, 8, 8), LIKE_DROPOUT, "--dropout"),
        (FieldValue("train_size", 40, "--train-size 40"), LIKE, "--batch-size"),
        (
            FieldValue("dataset", "digits", "--dataset digits"),
            ExperimentSpec(batch_size=2000),
            "--batch",
        ),
    ],
)
def test_an_error_does_not_call_a_value_of_the_base_a_default(value, base, option):
    with pytest.raises(UsageError) as refusal:
        build_spec([value], base)

    assert option in str(refusal.value)
    assert "(the default)" not in str(refusal.value)


def test_a_grid_with_a_base_varies_only_the_axes():
    axis = [FieldValue("lr", rate, f"--lr {rate}") for rate in (0.1, 0.2)]

    grid = expand([axis], [1, 2], LIKE_DROPOUT)

    assert grid.specs == tuple(
        LIKE_DROPOUT.model_copy(update={"lr": rate, "seed": seed})
        for seed in (1, 2)
        for rate in (0.1, 0.2)
    )
