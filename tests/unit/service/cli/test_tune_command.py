import json

import pytest

from unit.service.search.simulation import Queue, plan_tuning

SMALL = ["--dataset", "digits", "--hidden", "16x2", "--batch-size", "100", "--epochs", "1"]


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("--keep 1..0.4", "'1..0.4' counts down: write 0.4..1"),
        ("--keep 0.4..", "'0.4..': write a number (0.8), or from..to (0.4..1)"),
        ("--keep nan", "'nan': write a number (0.8), or from..to (0.4..1)"),
        ("--lr 0.1..inf", "'0.1..inf': write a number (0.8), or from..to (0.4..1)"),
        ("--keep 0..1", "--keep 0..1: a keep probability is above 0 and at most 1"),
        ("--keep 0.8", "There is nothing to tune: give a range to --keep, --input-keep or --lr"),
        ("--keep 1 --lr 0.1..1", "There is no dropout to tune: give --keep or --input-keep"),
        ("--budget 5", "--budget 5 is too small: the smallest selection takes 9 runs"),
        ("--epochs 3 --epochs 4", "--epochs is given 2 times: here it takes one value"),
        ("--hidden 8 --hidden 9", "--hidden is given 2 times: here it takes one value"),
        ("--batch-size 60000", "--batch-size 60000: 60,000 is more than the 50,000"),
        ("--confirm 1", "'1' is not a whole number from 2 to 1,000"),
        ("--sampler cmaes", "is not one of 'grid', 'tpe', 'qmc'"),
    ],
)
def test_what_cannot_be_tuned_is_refused_with_what_to_type(dq, typed, message):
    result = dq("tune", "--dry-run", *typed.split())

    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())


def test_a_dry_run_prints_the_plan_and_the_time_and_makes_no_database(dq, home):
    result = dq("tune", *SMALL, "--dry-run", "--budget", "20")

    assert result.exit_code == 0
    assert "confirmation           2     10  test              20" in result.stdout
    assert "on 1 worker" in result.stderr
    assert not (home / "dq.sqlite").exists()


def test_a_dry_run_knows_the_runs_that_were_done_before(dq):
    dq("submit", *SMALL, "--dropout", "0.4", "--seeds", "2")

    result = dq("tune", *SMALL, "--dry-run", "--json")

    assert "Not run again: 2 jobs queued or running." in result.stderr
    assert json.loads(result.stdout)["steps"][0]["step"] == "rung 1"


@pytest.mark.parametrize(("failing", "code"), [("valid", 0), ("test", 1)])
def test_only_a_failure_in_the_confirmation_makes_the_exit_code_1(dq, monkeypatch, failing, code):
    (spec,) = [spec for spec in plan_tuning(budget=9).grid if spec.keep[0] == 0.4]
    none = spec.model_copy(update={"keep": (1.0, 1.0), "evaluation": "test"})
    queue = Queue([{"valid": spec, "test": none}[failing].configuration])
    monkeypatch.setattr("service.cli.tune._run", lambda _, title, specs: queue(title, specs))
    words = ["--dataset", "digits", "--hidden", "64x2", "--batch-size", "50", "--epochs", "5"]

    result = dq("tune", *words, "--budget", "9")

    assert result.exit_code == code
    assert "seeds failed" in result.stdout
