"""Processes that die or hang. The lease is so long that waiting for its end would fail a test."""

import signal
import time

import pytest
from stage import ENDLESS, LONG, SHORT, open_stage

from integration import rows

#: Celery looks after its child every 5 s, and the next child has torch to import.
RECOVERY_SECONDS = 15


@pytest.fixture(scope="module")
def stage():
    with open_stage(lease_seconds=90) as stage:
        yield stage


def test_a_job_whose_process_is_killed_goes_on_from_its_checkpoint(stage, undisturbed):
    job_id = stage.submit_one(LONG)
    stage.wait_for_checkpoint(job_id)

    stage.trainer(job_id).kill()
    killed_at = time.monotonic()
    stage.wait(job_id, lambda job: job.attempt == 2, "is claimed again")
    seconds = time.monotonic() - killed_at
    stage.wait_for_end(job_id)

    lost, last = stage.attempts(job_id)
    assert seconds < RECOVERY_SECONDS
    assert (lost.outcome, last.outcome) == ("lost", "succeeded")
    assert "signal 9 (SIGKILL)" in lost.detail
    assert last.resumed_epoch > 0
    assert stage.figures(job_id) == undisturbed(LONG)


def test_a_job_that_kills_its_process_each_time_fails_and_the_queue_goes_on(stage):
    poison, innocent = stage.submit_one(ENDLESS, max_crashes=2), stage.submit_one(SHORT)

    for attempt in (1, 2):
        stage.wait_for_attempt(poison, attempt)
        stage.trainer(poison).send_signal(signal.SIGSEGV)
    states = stage.wait_for_end(poison, innocent)

    job = stage.job(poison)
    assert states == ["failed", "succeeded"]
    assert job.crashes == 2
    assert job.reason.startswith("crashed 2 times: ")
    assert "signal 11 (SIGSEGV)" in job.reason
    assert stage.outcomes(poison) == ["lost", "lost"]


def test_a_job_that_stands_still_fails_and_its_process_is_replaced(stage):
    hanging = stage.submit_hanging(stall_seconds=3)
    innocent = stage.submit_one(rows.spec(hidden=(8,)))  # of a shape that is not packed with it

    states = stage.wait_for_end(hanging, innocent)

    job, (attempt,) = stage.job(hanging), stage.attempts(hanging)
    assert states == ["failed", "succeeded"]
    assert (job.reason, job.crashes) == ("no progress for 3 s", 0)
    assert attempt.outcome == "failed"
    assert stage.attempts(innocent)[0].pid != attempt.pid
