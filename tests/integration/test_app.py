"""What the Celery process itself does with a job: it takes it from a child that died."""

import pytest

from integration import rows
from models.database import Database
from models.state import Outcome
from servers import Outage
from worker.execution.recorder import Recorder
from worker.queue import app


@pytest.fixture
def job_id(database: Database) -> int:
    return rows.submit_one(database)


def test_a_job_is_taken_from_the_child_that_died_with_it(
    database: Database, recorder: Recorder, job_id: int
):
    rows.claim(recorder, job_id)

    app._lose(database, recorder.worker, "signal 9 (SIGKILL)")

    job, (attempt,) = rows.job(database, job_id), rows.attempts(database, job_id)
    assert (job.state, job.crashes) == ("queued", 1)
    assert (attempt.outcome, attempt.detail) == (Outcome.LOST, "signal 9 (SIGKILL)")


def test_a_job_that_another_worker_has_is_left_to_it(
    database: Database, recorder: Recorder, other_recorder: Recorder, job_id: int
):
    rows.claim(other_recorder, job_id)
    before = rows.everything(database)

    app._lose(database, recorder.worker, "signal 9 (SIGKILL)")

    assert rows.everything(database) == before


def test_a_job_that_had_ended_before_its_child_died_is_left_as_it_is(
    database: Database, recorder: Recorder, job_id: int
):
    rows.cancel(recorder, rows.claim(recorder, job_id))
    before = rows.everything(database)

    app._lose(database, recorder.worker, "signal 9 (SIGKILL)")

    assert rows.everything(database) == before


def test_without_the_database_the_lease_is_left_to_run_out(
    database: Database, recorder: Recorder, job_id: int, outage: Outage
):
    rows.claim(recorder, job_id)

    with outage(database):
        app._lose(database, recorder.worker, "signal 9 (SIGKILL)")

    assert rows.job(database, job_id).state == "running"
