"""What a person does to jobs while a worker runs them."""

import json
import time

import pytest
from stage import ENDLESS, SHORT, is_alive, open_stage

from integration.messages import waiting
from models.message import Priority
from service import jobs
from service.queries.selectors import ids_condition

#: A heartbeat looks every half second, and the training asks it before each batch.
CANCEL_SECONDS = 3
#: How long a training that was told to stop may take, and the time to notice and to tell.
GRACE_SECONDS = 10 + 5


@pytest.fixture(scope="module")
def stage():
    with open_stage() as stage:
        yield stage


@pytest.fixture
def blocker(stage):
    """A job that keeps the worker busy until it is cancelled."""
    job_id = stage.submit_one(ENDLESS)
    stage.wait_for_start(job_id)
    return job_id


def test_a_running_job_is_cancelled_within_seconds_and_its_process_is_free(stage, blocker):
    asked_at = time.monotonic()
    stage.ask_to_cancel(blocker)
    (state,) = stage.wait_for_end(blocker)
    seconds = time.monotonic() - asked_at

    next_job = stage.submit_one(SHORT)
    stage.wait_for_end(next_job)

    assert state == "cancelled"
    assert seconds < CANCEL_SECONDS
    assert stage.outcomes(blocker) == ["cancelled"]
    assert stage.attempts(next_job)[0].pid == stage.attempts(blocker)[0].pid


def test_cancel_returns_only_once_a_process_that_hangs_is_off_the_job(stage):
    job_id, innocent = stage.submit_hanging(), stage.submit_one(SHORT)
    stage.wait_for_attempt(job_id, 1)
    process = stage.trainer(job_id)

    asked_at = time.monotonic()
    printed = stage.dq("cancel", str(job_id), "--json").stdout
    seconds = time.monotonic() - asked_at

    assert json.loads(printed) == [{"job_id": job_id, "change": "cancelled"}]
    assert stage.job(job_id).state == "cancelled"
    assert seconds < GRACE_SECONDS
    stage.wait_until(lambda: not is_alive(process), "the process that hung has ended")
    assert stage.wait_for_end(innocent) == ["succeeded"]


def test_a_held_job_is_passed_over_until_it_is_released(stage, blocker):
    held, other = stage.submit(SHORT, SHORT)
    jobs.hold(stage.database, ids_condition([held]))

    stage.cancel(blocker)
    stage.wait_for_end(other)
    passed_over = stage.job(held)
    jobs.release(stage.database, stage.broker, ids_condition([held]))
    states = stage.wait_for_end(held, other)

    assert (passed_over.state, passed_over.attempt) == ("queued", 0)
    assert states == ["succeeded", "succeeded"]


def test_a_paused_queue_starts_nothing_until_it_is_resumed(stage):
    jobs.pause(stage.database)
    job_id = stage.submit_one(SHORT)

    stage.wait_until(lambda: not waiting(stage.redis), "its message is taken")
    paused = stage.job(job_id)
    jobs.resume(stage.database, stage.broker)
    states = stage.wait_for_end(job_id)

    assert (paused.state, paused.attempt) == ("queued", 0)
    assert states == ["succeeded"]


def test_jobs_of_a_higher_priority_go_first_whenever_they_were_submitted(stage, blocker):
    low, normal, high = (
        stage.submit_one(SHORT, priority=priority)
        for priority in (Priority.LOW, Priority.NORMAL, Priority.HIGH)
    )

    stage.cancel(blocker)
    stage.wait_for_end(low, normal, high)

    order = sorted((low, normal, high), key=lambda job_id: stage.job(job_id).started_at)
    assert order == [high, normal, low]


def test_a_job_that_takes_longer_than_it_may_fails(stage):
    job_id = stage.submit_one(ENDLESS, timeout_seconds=1)

    states = stage.wait_for_end(job_id)

    assert states == ["failed"]
    assert stage.job(job_id).reason == "not done after the 1 s it may take"
    assert stage.outcomes(job_id) == ["failed"]
