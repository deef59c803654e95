import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from models.datasets import DATASETS
from models.spec import ExperimentSpec

#: For each field but the seed a value that makes another experiment of `ORIGINAL`.
ORIGINAL = {"dataset": "mnist", "hidden": (32, 16), "keep": (0.9, 0.8), "batch_size": 100}
OTHER_VALUES = {
    "dataset": "fashion-mnist",
    "train_size": 1000,
    "hidden": (16, 32),
    "keep": (0.8, 0.9),
    "lr": 0.2,
    "batch_size": 200,
    "epochs": 11,
    "input_keep": 0.8,
    "mask": "sample",
    "momentum": 0.9,
    "max_norm": 2,
    "lr_decay": 0.5,
    "evaluation": "test",
    "precision": "bf16",
}

REFUSALS = {
    "keep of 0": ({"keep": (0, 1, 1)}, "greater than 0"),
    "keep below 0": ({"keep": (-0.1, 1, 1)}, "greater than 0"),
    "keep above 1": ({"keep": (1.2, 1, 1)}, "less than or equal to 1"),
    "keep NaN": ({"keep": (float("nan"), 1, 1)}, "finite"),
    "too few rates": ({"keep": (0.9, 0.8)}, "2 rates for 3 hidden layers: write 3, or 1 for all"),
    "too many rates": ({"hidden": (8,), "keep": (0.9, 0.8)}, "2 rates for 1 hidden layer: write 1"),
    "lr of 0": ({"lr": 0}, "greater than 0"),
    "lr below 0": ({"lr": -1}, "greater than 0"),
    "lr NaN": ({"lr": float("nan")}, "finite"),
    "lr infinite": ({"lr": float("inf")}, "finite"),
    "no epoch": ({"epochs": 0}, "greater than or equal to 1"),
    "half an epoch": ({"epochs": 1.5}, "valid integer"),
    "empty batch": ({"batch_size": 0}, "greater than or equal to 1"),
    "batch larger than the training split": (
        {"dataset": "digits", "batch_size": 1198},
        "1,198 is more than the 1,197 training images of an epoch",
    ),
    "batch larger than train_size": (
        {"train_size": 100, "batch_size": 101},
        "101 is more than the 100 training images of an epoch",
    ),
    "default batch larger than train_size": (
        {"train_size": 100},
        "1,000 is more than the 100 training images of an epoch",
    ),
    "no training image": ({"train_size": 0}, "greater than or equal to 1"),
    "more training images than there are": (
        {"dataset": "digits", "train_size": 1198, "batch_size": 10},
        "1,198 is more than the 1,197 training images there are",
    ),
    "width of 0": ({"hidden": (0,)}, "greater than or equal to 1"),
    "no layer": ({"hidden": ()}, "at least 1 item"),
    "unknown data set": ({"dataset": "nope"}, "unknown data set 'nope': use one of mnist"),
    "input keep of 0": ({"input_keep": 0}, "greater than 0"),
    "unknown mask": ({"mask": "layer"}, "'batch' or 'sample'"),
    "momentum of 1": ({"momentum": 1}, "less than 1"),
    "momentum below 0": ({"momentum": -0.1}, "greater than or equal to 0"),
    "max_norm of 0": ({"max_norm": 0}, "greater than 0"),
    "lr_decay of 0": ({"lr_decay": 0}, "greater than 0"),
    "lr_decay above 1": ({"lr_decay": 1.1}, "less than or equal to 1"),
    "unknown evaluation": ({"evaluation": "train"}, "'valid' or 'test'"),
    "unknown precision": ({"precision": "fp16"}, "'fp32', 'tf32' or 'bf16'"),
    "unknown field": ({"dropout": 0.9}, "Extra inputs are not permitted"),
    "seed below 0": ({"seed": -1}, "greater than or equal to 0"),
    "seed that SQL cannot hold": ({"seed": 2**63}, f"less than {2**63}"),
}


@st.composite
def valid_fields(draw: st.DrawFn) -> dict[str, object]:
    hidden = draw(st.lists(st.integers(1, 10_000), min_size=1, max_size=4))
    keep = st.floats(0, 1, exclude_min=True, allow_subnormal=False)
    layers = len(hidden)
    train_size = draw(st.none() | st.integers(1, 1000))
    return {
        "dataset": draw(st.sampled_from(sorted(DATASETS))),
        "train_size": train_size,
        "hidden": hidden,
        "keep": draw(st.just([]) | st.lists(keep, min_size=layers, max_size=layers)),
        "lr": draw(st.floats(0, exclude_min=True, allow_nan=False, allow_infinity=False)),
        "batch_size": draw(st.integers(1, train_size or 1000)),
        "epochs": draw(st.integers(1, 1000)),
        "momentum": draw(st.floats(0, 1, exclude_max=True)),
        "max_norm": draw(st.none() | st.floats(0.1, 10)),
        "seed": draw(st.integers(0, 2**63 - 1)),
    }


def test_the_defaults_are_the_notebooks():
    spec = ExperimentSpec()

    assert spec.model_dump() == {
        "dataset": "mnist",
        "train_size": None,
        "hidden": (8192, 8192, 8192),
        "keep": (1.0, 1.0, 1.0),
        "lr": 0.1,
        "batch_size": 1000,
        "epochs": 10,
        "input_keep": 1.0,
        "mask": "batch",
        "momentum": 0.0,
        "max_norm": None,
        "lr_decay": 1.0,
        "evaluation": "valid",
        "precision": "fp32",
        "seed": 0,
    }


@pytest.mark.parametrize("layers", [1, 2, 5])
def test_no_dropout_is_keep_1_for_each_layer(layers):
    spec = ExperimentSpec(hidden=(8,) * layers)

    assert spec.keep == (1.0,) * layers
    assert not spec.has_dropout


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({}, {"keep": (1, 1, 1)}),
        ({}, {"train_size": 50_000}),
        ({"dataset": "digits"}, {"dataset": "digits", "train_size": 1197}),
        ({"lr": 1}, {"lr": 1.0}),
        ({"hidden": (8, 8), "keep": (1, 0.5)}, {"hidden": [8, 8], "keep": [1.0, 0.5]}),
        ({"lr": 0.1}, {"lr": 0.10000000000000001}),
        ({"momentum": 0}, {"momentum": -0.0}),
    ],
)
def test_equal_experiments_are_equal_specs_and_equal_configurations(one, other):
    first, second = ExperimentSpec(**one), ExperimentSpec(**other)

    assert first == second
    assert hash(first) == hash(second)
    assert first.configuration == second.configuration


def test_the_seed_is_no_part_of_the_configuration():
    first, second = ExperimentSpec(seed=0), ExperimentSpec(seed=1)

    assert first != second
    assert first.configuration == second.configuration


@pytest.mark.parametrize("field", [name for name in ExperimentSpec.model_fields if name != "seed"])
def test_every_field_but_the_seed_is_part_of_the_configuration(field):
    original = ExperimentSpec(**ORIGINAL)

    changed = ExperimentSpec(**{**ORIGINAL, field: OTHER_VALUES[field]})

    assert changed != original
    assert changed.configuration != original.configuration


def test_a_configuration_keeps_the_name_that_rows_in_databases_have():
    # Fields that came later have no part in it at their defaults.
    spec = ExperimentSpec(dataset="digits", hidden=(32, 16), keep=(0.9, 0.8), batch_size=100)

    assert spec.configuration == "8e5d2e8d695d9153"


def test_a_spec_is_frozen():
    spec = ExperimentSpec()

    with pytest.raises(ValidationError, match="frozen"):
        spec.lr = 0.2


@pytest.mark.parametrize(("fields", "message"), REFUSALS.values(), ids=REFUSALS.keys())
def test_a_spec_that_makes_no_sense_is_refused(fields, message):
    with pytest.raises(ValidationError) as refusal:
        ExperimentSpec(**fields)

    assert message in str(refusal.value)


@settings(deadline=None)
@given(valid_fields())
def test_a_spec_is_the_same_after_its_way_through_json(fields):
    spec = ExperimentSpec(**fields)

    read = ExperimentSpec.model_validate(json.loads(json.dumps(spec.model_dump(mode="json"))))

    assert read == spec
    assert read.configuration == spec.configuration


@pytest.mark.parametrize(
    ("keep", "input_keep", "has_dropout"),
    [((1, 1), 1, False), ((1, 0.99), 1, True), ((0.5, 1), 1, True), ((1, 1), 0.8, True)],
)
def test_a_spec_has_dropout_if_any_activation_or_pixel_may_be_dropped(
    keep, input_keep, has_dropout
):
    spec = ExperimentSpec(hidden=(8, 8), keep=keep, input_keep=input_keep)

    assert spec.has_dropout is has_dropout


@pytest.mark.parametrize(
    ("fields", "images", "batches"),
    [
        ({}, 50_000, 50),
        ({"train_size": 1000}, 1000, 1),
        ({"train_size": 1001}, 1001, 2),
        ({"dataset": "digits", "batch_size": 100}, 1197, 12),
    ],
)
def test_an_epoch_sees_every_image_and_its_last_batch_may_be_smaller(fields, images, batches):
    spec = ExperimentSpec(**fields)

    assert spec.images == images
    assert spec.batches == batches


@pytest.mark.parametrize(
    "changes",
    [{"seed": 1}, {"lr": 0.2}, {"keep": (1.0, 0.5)}, {"lr_decay": 0.5}],
    ids=str,
)
def test_specs_that_differ_in_numbers_alone_have_one_shape(changes):
    assert ExperimentSpec(**{**ORIGINAL, **changes}).shape == ExperimentSpec(**ORIGINAL).shape


@pytest.mark.parametrize(
    "changes",
    [
        {"hidden": (32, 32)},
        {"dataset": "fashion-mnist"},
        {"train_size": 1000},
        {"batch_size": 50},
        {"epochs": 3},
        {"mask": "sample"},
        {"precision": "bf16"},
        {"evaluation": "test"},
        {"momentum": 0.9},
        {"max_norm": 1.0},
        {"input_keep": 0.8},
    ],
    ids=str,
)
def test_specs_that_need_other_computations_have_other_shapes(changes):
    assert ExperimentSpec(**{**ORIGINAL, **changes}).shape != ExperimentSpec(**ORIGINAL).shape
