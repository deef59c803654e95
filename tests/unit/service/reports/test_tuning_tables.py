import csv
import io
import json

import pytest

from service.reports.table import render
from service.reports.tuning_tables import describe_rung, plan_table, tuning_table
from service.search.tuning import tune
from unit.service.search.simulation import BASE, Queue, plan_tuning


@pytest.fixture
def plan():
    return plan_tuning(budget=50, lr="0.05..0.5")


@pytest.fixture
def table(plan):
    return tuning_table(tune(plan, Queue()))


def show(table, format="table"):
    return render(table, format, width=80, color=False, ascii=False)


def test_a_plan_says_what_is_tried_in_which_rungs_and_with_how_many_runs(plan):
    shown = show(plan_table(plan))

    assert "digits, hidden 64x2, batch 50, 5 epochs" in shown
    assert "keep 0.4, 0.7, 1\n" in shown
    assert "lr 0.05, 0.2, 0.5\n" in shown
    assert "input keep 1\n" in shown
    assert "rung 1                 9      3  validation        27\n" in shown
    assert "confirmation           2      5  test              10\n" in shown
    assert f"6 candidates with dropout, 3 without; {plan.runs} runs to select, 10 to conf" in shown


def test_a_plan_abbreviates_many_values_and_names_the_sampler_of_those_that_are_drawn():
    assert "keep 0.4, 0.42, 0.44, ... 0.98, 1 (30 values)\n" in show(
        plan_table(plan_tuning(budget=180))
    )
    assert "keep 0.4..1, drawn by tpe\nlr 0.1\n" in show(plan_table(plan_tuning("tpe")))


def test_a_plan_in_json_has_its_values_and_steps(plan):
    document = json.loads(show(plan_table(plan), "json"))

    assert document["values"]["lr"] == [0.05, 0.2, 0.5]
    assert document["steps"][-1] == {
        "step": "confirmation", "images": "test", "candidates": 2, "seeds": 5, "runs": 10
    }  # fmt: skip


def test_what_was_tried_is_listed_best_first_and_its_means_are_said_to_be_too_high(table):
    shown = show(table)

    assert "Selection: validation accuracy on 300 images, higher is better" in shown
    (first, *_) = [line for line in shown.splitlines() if "0.7,0.7" in line]
    assert first.endswith("contender")
    assert shown.count("contender\n") == 2
    assert "theirs are too high: the best of 6 is" in shown
    assert "They are no result." in shown


def test_what_was_tried_in_csv_is_a_row_a_candidate_and_in_json_beside_the_confirmation(table):
    rows = list(csv.DictReader(io.StringIO(show(table, "csv"))))
    document = json.loads(show(table, "json"))

    assert len(rows) == len(document["tried"]) == 9
    assert rows[0]["outcome"] == document["tried"][0]["outcome"] == "contender"
    assert document["confirmation"]["rows"][1]["verdict"] == "better"


def test_a_best_value_at_an_end_of_its_range_is_said_to_be_one_unless_it_drops_nothing():
    ends = show(tuning_table(tune(plan_tuning(keep="0.8..1", lr="0.1..1"), Queue())))
    inside = show(tuning_table(tune(plan_tuning(keep="0.4..1", input_keep="0.5..1"), Queue())))

    assert "Of the best, keep 0.8 is an end of the range 0.8..1: look beyond it, too." in ends
    assert "Of the best, lr 0.1 is an end of the range 0.1..1: look beyond it, too." in ends
    assert "is an end" not in inside


def test_a_candidate_that_failed_is_named_in_its_rung_and_in_the_list(plan):
    lost = [spec for spec in plan.grid if spec.lr == 0.5 and spec.has_dropout]
    rungs = []
    tuning = tune(plan, Queue([spec.configuration for spec in lost]), rungs.append)

    assert describe_rung(plan, rungs[0]) == (
        "Ahead: keep 0.7,0.7, lr 0.05; no dropout, lr 0.05. "
        "Failed, which counts as worst: keep 0.4,0.4, lr 0.5; keep 0.7,0.7, lr 0.5."
    )
    assert show(tuning_table(tuning)).count("3 seeds failed") == 2


def test_of_many_candidates_that_failed_some_are_named():
    plan = plan_tuning(budget=80)
    rungs = []
    tune(plan, Queue([s.configuration for s in plan.grid if s.keep[0] < 0.7]), rungs.append)

    assert describe_rung(plan, rungs[0]).endswith(
        "Failed, which counts as worst: keep 0.4,0.4; keep 0.45,0.45; keep 0.5,0.5 and 3 others."
    )
    assert BASE.keep == (1, 1)
