"""A tuning whose client and worker die: the jobs go on, and so does the tuning."""

import json

import pytest
from sqlalchemy import select
from stage import open_stage

from models.tables import Job

TUNE = [
    *("tune", "--dataset", "digits", "--hidden", "64x2", "--batch-size", "50", "--epochs", "10"),
    *("--keep", "0.5..1", "--lr", "0.05..0.5", "--budget", "50", "--confirm", "4", "--json"),
]


@pytest.fixture(scope="module")
def stage():
    with open_stage() as stage:
        yield stage


def test_a_tuning_that_is_killed_with_its_worker_and_typed_again_gives_a_calm_ones_answer(stage):
    client = stage.start_dq(*TUNE)
    job = stage.wait_until(lambda: find_running(stage, seed=3), "the second rung runs")
    client.kill()
    stage.trainer(job.id).kill()
    client.wait()

    disturbed = stage.dq(*TUNE)

    with open_stage() as other:
        calm = other.dq(*TUNE)
    assert [stage.outcomes(job.id)[0], stage.job(job.id).state] == ["lost", "succeeded"]
    assert "Rung 1 of 3: 9 candidates, seeds 0..2: done before." in disturbed.stderr
    assert list_figures(disturbed) == list_figures(calm)


def find_running(stage, seed):
    with stage.database.reading() as session:
        running = session.scalars(select(Job).where(Job.state == "running"))
        return next((job for job in running if job.spec["seed"] == seed), None)


def list_figures(done):
    """Return all that was printed but the ids of jobs."""
    printed = json.loads(done.stdout)
    confirmation = printed["confirmation"]
    return (
        printed["tried"],
        confirmation["conclusion"],
        [{name: row[name] for name in row if "job" not in name} for row in confirmation["rows"]],
    )
