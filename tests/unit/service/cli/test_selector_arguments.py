"""Every command that takes selectors answers alike if they select nothing."""

import json

import pytest

from integration import rows
from models.settings import Settings
from service.operations.schema import open_database

COMMANDS = [
    "results {}",
    "results --compare {}",
    "results --curves {}",
    "show {}",
    "show --why {}",
    "diff {} 1",
    "logs {}",
    "wait {}",
    "watch {}",
    "cancel {}",
    "retry {}",
    "hold {}",
    "release {}",
    "tag {} paper",
    "note {} text",
    "export {} --to csv",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_selector_that_names_nothing_is_repeated_with_exit_code_2(dq, command):
    answers = {
        name: dq(*command.format(name).split()) for name in ("99", "s99", "tag:papr", "20..10")
    }

    assert {name: answer.exit_code for name, answer in answers.items()} == dict.fromkeys(answers, 2)
    assert "There is no job 99. Type: dq results" in answers["99"].stderr
    assert "There is no sweep s99. Type: dq results" in answers["s99"].stderr
    assert "No job has the tag 'papr'. Type: dq results" in answers["tag:papr"].stderr
    assert "write 10..20" in answers["20..10"].stderr
    assert not any(answer.stdout for answer in answers.values())


@pytest.mark.parametrize("command", ["results {}", "logs {}", "wait {}", "watch {}", "cancel {}"])
def test_a_state_that_no_job_is_in_is_an_empty_answer(dq, command):
    answer = dq(*command.format("state:failed").split())

    assert answer.exit_code == 0
    assert "Error" not in answer.stderr


@pytest.fixture
def sweep(dq):
    """Return `dq` with the jobs 1 and 2 of one sweep, and job 3."""
    database = open_database(Settings.load())
    rows.submit(database, rows.spec(seed=0), rows.spec(seed=1))
    rows.submit(database, rows.spec(seed=2))
    return dq


def test_several_jobs_are_shown_a_line_each_and_one_in_full(sweep):
    several, one = sweep("show", "s1", "3", "--json"), sweep("show", "s2", "--json")

    assert [row["job_id"] for row in json.loads(several.stdout)] == [1, 2, 3]
    assert json.loads(one.stdout)["job_id"] == 3
    assert "attempts" in json.loads(one.stdout)
    assert "For all of one job, type: dq show 1" in sweep("show", "s1").stderr


def test_why_several_jobs_wait_is_said_of_each(sweep):
    sweep("cancel", "2")

    rows = json.loads(sweep("show", "s1", "s2", "--why", "--json").stdout)

    assert [(row["job_id"], row["state"]) for row in rows] == [
        (1, "queued"),
        (2, "cancelled"),
        (3, "queued"),
    ]
    assert "It is the next in the queue." in rows[0]["reason"]
    assert rows[1]["reason"] == "cancelled before it ran"
    assert "1 queued job is ahead of it." in rows[2]["reason"]


@pytest.mark.parametrize("words", [["1", "2"], ["1,2"], ["1..2"], ["s1"]])
def test_differences_are_listed_however_the_two_jobs_are_named(sweep, words):
    differences = json.loads(sweep("diff", *words, "--json").stdout)

    assert [(each["name"], each["a"], each["b"]) for each in differences] == [("seed", "0", "1")]


def test_a_diff_of_three_jobs_is_refused_with_what_to_type(sweep):
    answer = sweep("diff", "s1", "3")

    assert answer.exit_code == 2
    assert "s1 3 names 3 jobs, and dq diff compares two: dq diff 1 2" in answer.stderr
