import json

import pytest

from models.spec import ExperimentSpec
from service.reports.detail_tables import repeat_command

#: A spec, and for each field a value that makes another one of it.
SMALL = {"hidden": (8, 8), "batch_size": 100}
OTHER_VALUES = {
    "dataset": "digits",
    "train_size": 1000,
    "hidden": (16, 32),
    "keep": (0.9, 0.123456789),
    "lr": 0.30000000000000004,
    "batch_size": 200,
    "epochs": 11,
    "input_keep": 0.8,
    "mask": "sample",
    "momentum": 0.9,
    "max_norm": 2,
    "lr_decay": 0.5,
    "evaluation": "test",
    "precision": "bf16",
    "seed": 7,
}
NO_SERVER = {
    "DQ_DATABASE_URL": "postgresql://127.0.0.1:1/dq",
    "DQ_BROKER_URL": "redis://127.0.0.1:1/0",
}
TEN_JOBS = "--dropout none --dropout 0.9,0.8,0.8 --seeds 5"
KEEP_RULE = "a keep probability is above 0 and at most 1"
DROP_RULE = "a drop probability is at least 0 and below 1"
EPOCHS_RULE = "epochs are a whole number from 1 to 2,147,483,647"
SEEDS_RULE = "write how many (5), or from..to (0..9)"

#: What is typed, the option that the error must name, and the fix that it must show.
REFUSALS = [
    ("--dropout 0.9,0.8 --hidden 8x3", "--dropout 0.9,0.8", "for 3 hidden layers: write 3, or 1"),
    ("--dropout 0.9,0.8 --hidden 8", "--dropout 0.9,0.8", "2 rates for 1 hidden layer: write 1"),
    ("--dropout 0.9x2", "--dropout 0.9x2", "2 rates for 3 hidden layers: write 3, or 1"),
    ("--dropout 0", "--dropout 0", KEEP_RULE),
    ("--dropout 0,1,1", "--dropout 0,1,1", KEEP_RULE),
    ("--dropout 1.2,1,1", "--dropout 1.2,1,1", KEEP_RULE),
    ("--dropout nan,1,1", "--dropout nan,1,1", KEEP_RULE),
    ("--dropout abc", "--dropout abc", "0.9,0.8,0.8 or 0.8x3, or none"),
    ("--dropout 0.9,,0.8", "--dropout 0.9,,0.8", "0.9,0.8,0.8 or 0.8x3, or none"),
    ("--dropout none,1,1", "--dropout none,1,1", "0.9,0.8,0.8 or 0.8x3, or none"),
    ("--drop 1", "--drop 1", DROP_RULE),
    ("--drop 1,0,0", "--drop 1,0,0", DROP_RULE),
    ("--drop -0.1,0,0", "--drop -0.1,0,0", DROP_RULE),
    ("--drop abc", "--drop abc", "write a number for each hidden layer"),
    ("--lr -1", "--lr -1", "a learning rate is a finite number above 0"),
    ("--lr 0", "--lr 0", "a learning rate is a finite number above 0"),
    ("--lr nan", "--lr nan", "a learning rate is a finite number above 0"),
    ("--lr inf", "--lr inf", "a learning rate is a finite number above 0"),
    ("--lr x", "--lr", "'x' is not a valid float"),
    ("--epochs 0", "--epochs 0", EPOCHS_RULE),
    ("--epochs 99999999999", "--epochs 99999999999", EPOCHS_RULE),
    ("--epochs 1.5", "--epochs", "'1.5' is not a valid integer"),
    ("--hidden 0", "--hidden 0", "a layer's width is a whole number from 1"),
    ("--hidden 99999999", "--hidden 99999999", "from 1 to 1,000,000"),
    ("--hidden 99999999x3", "--hidden 99999999x3", "from 1 to 1,000,000"),
    ("--lr 1e400", "--lr inf", "a finite number above 0"),
    ("--momentum nan", "--momentum nan", "a momentum is at least 0 and below 1"),
    ("--momentum 1", "--momentum 1", "a momentum is at least 0 and below 1"),
    ("--max-norm nan", "--max-norm nan", "a max-norm is a finite number above 0"),
    ("--max-norm -1", "--max-norm -1", "a max-norm is a finite number above 0"),
    ("--lr-decay 1e400", "--lr-decay inf", "a decay is above 0 and at most 1"),
    ("--sample x", "--sample", "'x' is not a whole number from 1 to 2,147,483,647"),
    ("--hidden 0x3", "--hidden 0x3", "a layer's width is a whole number from 1"),
    ("--hidden x", "--hidden x", "512,512,512 or 512x3"),
    ("--hidden 512x0", "--hidden 512x0", "512,512,512 or 512x3"),
    ("--hidden 512x101", "--hidden 512x101", "512,512,512 or 512x3"),
    ("--hidden 8.5", "--hidden 8.5", "512,512,512 or 512x3"),
    ("--dataset nope", "--dataset", "is not one of 'mnist', 'fashion-mnist', 'digits'"),
    ("--seeds 0", "--seeds", SEEDS_RULE),
    ("--seeds 9..3", "--seeds", SEEDS_RULE),
    ("--seeds x", "--seeds", SEEDS_RULE),
    ("--seed 1 --seeds 2", "--seed and --seeds", "give one of them"),
    ("--seed -1", "--seed", "a whole number from 0 to 9,223,372,036,854,775,807"),
    (f"--seed {2**63}", "--seed", str(2**63)),
    ("--batch-size 0", "--batch-size 0", "a batch has at least 1 image"),
    ("--batch-size 200 --train-size 100", "--batch-size 200", "more than the 100 training images"),
    ("--batch-size 1198 --dataset digits", "--batch-size 1198", "more than the 1,197"),
    ("--train-size 100", "--batch-size", "more than the 100 training images"),
    ("--train-size 0", "--train-size 0", "it takes at least 1 training image"),
    ("--train-size 50001", "--train-size 50001", "more than the 50,000 training images there are"),
    ("--timeout x", "--timeout", "write 90s, 30m or 2h"),
    ("--timeout 0", "--timeout", "write 90s, 30m or 2h"),
    ("--stall-timeout -1", "--stall-timeout", "write 90s, 30m or 2h"),
    ("--max-crashes 0", "--max-crashes", "1<=x<=1000"),
    ("--priority urgent", "--priority", "is not one of 'high', 'normal', 'low'"),
    ("--format xml", "--format", "is not one of 'table', 'json', 'csv', 'md'"),
    ("--dropuot 0.9", "--dropuot", "--dropout"),
]


@pytest.fixture
def specs(dq):
    """Return a function that gives the specs of `dq submit` with some options."""

    def specs_of(typed: str):
        result = dq("submit", "--dry-run", "--json", *typed.split())
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)

    return specs_of


@pytest.mark.parametrize(("typed", "option", "fix"), REFUSALS, ids=[r[0] for r in REFUSALS])
def test_a_bad_value_is_a_usage_error_with_the_option_and_the_fix(dq, typed, option, fix):
    result = dq("submit", "--dry-run", *typed.split())

    assert result.exit_code == 2
    assert option in result.stderr
    assert fix in result.stderr
    assert result.stdout == ""


def test_without_options_the_experiment_is_that_of_the_notebook(specs):
    (spec,) = specs("")

    assert spec["hidden"] == [8192] * 3
    assert spec["keep"] == [1.0] * 3
    assert (spec["dataset"], spec["epochs"], spec["batch_size"]) == ("mnist", 10, 1000)


def test_commas_separate_layers_and_repeated_options_make_a_grid(specs):
    grid = specs("--dropout 0.9,0.8,0.8 --dropout none --hidden 512,256,128 --lr 0.1 --lr 0.2")

    assert [(spec["keep"], spec["lr"]) for spec in grid] == [
        ([0.9, 0.8, 0.8], 0.1),
        ([0.9, 0.8, 0.8], 0.2),
        ([1.0, 1.0, 1.0], 0.1),
        ([1.0, 1.0, 1.0], 0.2),
    ]
    assert all(spec["hidden"] == [512, 256, 128] for spec in grid)


def test_equal_widths_and_rates_may_be_written_with_an_x(specs):
    assert specs("--hidden 512x3") == specs("--hidden 512,512,512")
    assert specs("--hidden 8,4x2") == specs("--hidden 8,4,4")
    assert specs("--dropout 0.8x3") == specs("--dropout 0.8,0.8,0.8")
    assert specs("--drop 0.1,0.2x2") == specs("--dropout 0.9,0.8,0.8")


def test_one_rate_applies_to_every_layer(specs):
    assert specs("--dropout 0.5") == specs("--dropout 0.5,0.5,0.5")
    assert specs("--drop 0") == specs("--dropout none")
    assert specs("--drop 0.2 --hidden 8x2 --hidden 8") == specs(
        "--dropout 0.8 --hidden 8x2 --hidden 8"
    )


@pytest.mark.parametrize(
    ("typed", "seeds"),
    [("", [0]), ("--seeds 3", [0, 1, 2]), ("--seeds 8..9", [8, 9]), ("--seed 4 --seed 2", [4, 2])],
)
def test_seeds_are_a_number_a_range_or_a_list(specs, typed, seeds):
    assert [spec["seed"] for spec in specs(typed)] == seeds


def test_drop_is_exactly_the_complement_of_dropout(specs):
    assert specs("--drop 0.1,0.2,0.2") == specs("--dropout 0.9,0.8,0.8")
    assert specs("--drop 0,0,0") == specs("--dropout none") == specs("--drop none")


def test_drop_and_dropout_together_are_one_axis_and_the_same_value_counts_once(specs):
    grid = specs("--drop 0.1,0.2,0.2 --dropout 0.9,0.8,0.8 --dropout 0.5,0.5,0.5")

    assert sorted(spec["keep"] for spec in grid) == [[0.5, 0.5, 0.5], [0.9, 0.8, 0.8]]


@pytest.mark.parametrize("typed", ["0.1,0.2,0.2", "0.49,0.49,0.49"])
def test_low_keep_probabilities_get_a_warning_with_the_other_option(dq, typed):
    result = dq("submit", "--dry-run", "--dropout", "none", "--dropout", typed)

    assert result.exit_code == 0
    assert "KEEPS only" in result.stderr
    assert f"--drop {typed}" in result.stderr


@pytest.mark.parametrize("typed", ["0.9,0.8,0.8", "0.1,0.2,0.5", "none"])
def test_likely_keep_probabilities_get_no_warning(dq, typed):
    result = dq("submit", "--dry-run", "--dropout", typed)

    assert "Warning" not in result.stderr


def test_drop_probabilities_get_no_warning(dq):
    result = dq("submit", "--dry-run", "--drop", "0.6,0.7,0.7")

    assert "Warning" not in result.stderr


def test_a_dry_run_prints_the_size_as_a_message_and_the_jobs_as_data(dq):
    result = dq("submit", "--dry-run", *TEN_JOBS.split())

    assert result.stderr.startswith("2 configurations x 5 seeds = 10 jobs\nAbout ")
    assert len(result.stdout.splitlines()) == 13  # with what all share, the heading and its rule


def test_a_dry_run_needs_neither_database_nor_redis_and_creates_no_files(dq, home, monkeypatch):
    for name, url in NO_SERVER.items():
        monkeypatch.setenv(name, url)

    result = dq("submit", "--dry-run")

    assert result.exit_code == 0
    assert not home.exists()


def test_a_refused_submit_creates_no_files(dq, home):
    result = dq("submit", "--dropout", "0")

    assert result.exit_code == 2
    assert not home.exists()


@pytest.mark.parametrize("field", ExperimentSpec.model_fields)
def test_the_command_that_repeats_a_job_has_every_field(specs, field):
    spec = ExperimentSpec(**{**SMALL, field: OTHER_VALUES[field]})

    line = repeat_command(spec)

    (repeated,) = specs(line.removeprefix("dq submit"))
    assert repeated == spec.model_dump(mode="json")
