"""What a person does with dq, the same on each of its set-ups."""

import csv
import io
import json
import re

import pytest
import yaml

from acceptance.conftest import DIGITS, PATIENCE
from acceptance.setups import open_embedded, open_in_containers, open_on_servers
from compose.stack import BUILD_SECONDS
from servers import wait_until

SMALL = [word for pair in DIGITS.items() for word in pair]
SWEEP = [*SMALL, "--dropout", "none", "--dropout", "0.9,0.8", "--seeds", "3", "--tag", "both"]
#: It ends by itself after a test that failed to cancel it.
ENDLESS = ["--epochs", "1000000", "--hidden", "64x2", "--timeout", "60s"]
BAD_INPUT = {
    "submit --dropout 1.5": "--dropout",
    "submit --dataset imagenet": "imagenet",
    "results nonsense": "'nonsense' names no jobs",
    "results --where lr==": "--where",
    "show 999999": "There is no job 999999",
    "retry state:lost": "Unknown state 'lost'",
}
FIGURES = ("train_loss", "train_accuracy", "valid_loss", "valid_accuracy")


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(open_embedded, id="embedded"),
        pytest.param(open_on_servers, id="servers"),
        pytest.param(
            open_in_containers,
            id="containers",
            marks=[pytest.mark.compose, pytest.mark.timeout(BUILD_SECONDS)],
        ),
    ],
)
def service(request):
    """A terminal whose dq has jobs run by one of the three."""
    with request.param(request) as opened:
        yield opened


@pytest.fixture(scope="module")
def sweep(service):
    """Two configurations of three seeds each, submitted at once and finished."""
    submitted = service.data("submit", *SWEEP)
    waited = service.dq("wait", f"s{submitted['sweep']}")
    assert waited.returncode == 0, waited.stderr
    return submitted


def name(sweep):
    return f"s{sweep['sweep']}"


def wait_for_epochs(service, job_id):
    wait_until(lambda: service.show(job_id)["epochs_done"] > 0, "the job runs", PATIENCE)


def test_a_sweep_is_listed_with_what_became_of_each_job(service, sweep):
    jobs = service.data("results", name(sweep))

    assert sweep["is_sent"]
    assert [job["job_id"] for job in jobs] == sweep["jobs"][::-1]  # newest first
    assert {job["state"] for job in jobs} == {"succeeded"}
    assert sorted(job["seed"] for job in jobs) == [0, 0, 1, 1, 2, 2]
    assert all(0 < job["valid_accuracy"] < 1 for job in jobs)


def test_the_database_and_redis_are_found_well_and_a_worker_is_counted(service, sweep):
    ready = service.dq("doctor", "--ready")

    assert ready.returncode == 0, ready.stdout
    assert service.data("status")["workers"] >= 1


def test_a_sweep_is_compared_with_its_spread_and_a_verdict(service, sweep):
    table = service.dq("results", name(sweep), "--compare").stdout
    rows = service.data("results", name(sweep), "--compare")["rows"]

    assert "digits, hidden 16x2, lr 0.1, batch 100, 3 epochs" in table
    assert "baseline" in table
    assert sorted(len(row["jobs"]) for row in rows) == [3, 3]


def test_a_job_is_shown_with_its_epochs_and_where_its_result_comes_from(service, sweep):
    shown = service.show(sweep["jobs"][0])

    (attempt,) = shown["attempts"]
    assert [epoch["epoch"] for epoch in shown["epochs"]] == [1, 2, 3]
    assert shown["valid_loss"] == shown["epochs"][-1]["valid_loss"]
    assert (attempt["number"], attempt["outcome"]) == (1, "succeeded")
    assert attempt["provenance"]["torch"]


def test_jobs_of_one_shape_are_trained_together_and_their_log_says_so(service, sweep):
    log = service.dq("logs", name(sweep)).stdout

    assert len(re.findall(r"claimed by \S+ with \d+ others? of its shape", log)) >= 2
    assert len(re.findall(r"succeeded$", log, re.MULTILINE)) == 6


def test_a_run_is_not_repeated_unless_forced_and_then_has_the_same_figures_to_the_bit(
    service, sweep
):
    one = [*SMALL, "--dropout", "0.9,0.8", "--seed", "1"]

    again = service.data("submit", *one)
    (forced,) = service.data("submit", *one, "--force", "--wait")

    (first,) = again["reused"]
    assert again["created"] == []
    assert first in sweep["jobs"]
    assert [forced[figure] for figure in FIGURES] == [service.show(first)[f] for f in FIGURES]


def test_watch_follows_a_sweep_to_its_end(service):
    submitted = service.data("submit", *SMALL, "--lr", "0.05")

    watched = service.dq("watch", name(submitted))

    assert watched.returncode == 0
    assert "1 succeeded; 3 of 3 epochs." in watched.stdout


def test_a_queued_job_is_cancelled_before_it_starts_and_runs_once_it_is_retried(service):
    with service.paused():
        (job_id,) = service.submit()
        cancelled = service.data("cancel", str(job_id))
        retried = service.data("retry", str(job_id))

    assert cancelled == [{"job_id": job_id, "change": "cancelled"}]
    assert retried == [{"job_id": job_id, "change": "queued"}]
    assert service.dq("wait", str(job_id)).returncode == 0
    assert len(service.show(job_id)["attempts"]) == 1


def test_a_running_job_is_cancelled_and_its_worker_takes_the_next(service):
    (job_id,) = service.submit(*ENDLESS)
    wait_for_epochs(service, job_id)

    changes = service.data("cancel", str(job_id))

    shown = service.show(job_id)
    assert changes == [{"job_id": job_id, "change": "cancelled"}]
    assert (shown["state"], shown["reason"]) == ("cancelled", "cancelled while running")
    service.run_jobs()


def test_a_job_that_diverges_fails_with_its_reason_and_is_in_no_mean(service):
    good, bad = service.submit("--tag", "diverging", "--lr", "0.1", "--lr", "1e30")

    waited = service.dq("wait", "tag:diverging")
    shown = service.dq("show", str(bad))
    compared = service.data("results", "tag:diverging", "--compare")

    assert waited.returncode == 1
    assert "diverged at epoch 1" in shown.stdout
    assert f"dq retry {bad}" in shown.stderr
    assert compared["failed"] == [bad]
    assert {row["lr"]: row["jobs"] for row in compared["rows"]} == {0.1: [good], 1e30: []}


def test_a_held_job_is_passed_over_until_it_is_released(service):
    with service.paused():
        held, other = service.submit("--seeds", "2")
        service.dq("hold", str(held))

    service.dq("wait", str(other))
    before = service.show(held)["state"]
    service.dq("release", str(held))

    assert before == "queued"
    assert service.dq("wait", str(held)).returncode == 0


def test_jobs_are_tagged_found_and_exported(service, sweep):
    service.dq("tag", str(sweep["jobs"][2]), "paper")
    service.dq("note", "tag:paper", "the fan was broken")

    done = service.dq("results", "tag:paper", "--cols", "job_id,state", "--format", "csv")

    rows = [*csv.reader(io.StringIO(done.stdout))]
    assert rows == [["job_id", "state"], [str(sweep["jobs"][2]), "succeeded"]]
    assert "the fan was broken" in service.dq("show", str(sweep["jobs"][2])).stdout


def test_a_published_table_is_judged_by_runs_that_are_there(service, sweep):
    spec = {"dataset": "digits", "hidden": [16, 16], "batch_size": 100, "epochs": 3}
    figures = {
        "reported": {"valid_accuracy": [9.0]},
        "tolerance": {"valid_accuracy": 0.5},
    }
    table = {
        "version": 1,
        "title": "A small table of digits",
        "citation": "Nobody: Nothing. 2026.",
        "seeds": 4,
        "rows": [{"cell": "plain", "spec": spec, **figures}],
    }
    (service.folder / "table.yaml").write_text(yaml.safe_dump(table))

    done = service.dq("reproduce", "table.yaml", "--json")

    (figure,) = json.loads(done.stdout)["figures"]
    assert done.returncode == 4, done.stderr
    assert (figure["n"], figure["verdict"]) == (4, "not met")
    assert "1 job to run." in done.stderr, "the sweep had the other seeds"


def test_bad_input_is_a_usage_error_that_names_it_and_changes_nothing(service):
    before = service.data("status")["jobs"]

    for words, message in BAD_INPUT.items():
        done = service.dq(*words.split())
        assert done.returncode == 2, words
        assert message in done.stderr
        assert "Traceback" not in done.stderr
    assert service.data("status")["jobs"] == before
