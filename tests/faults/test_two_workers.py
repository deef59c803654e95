"""Two workers on PostgreSQL, the clock of one being an hour off; each test strikes one of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from sqlalchemy import select
from stage import ENDLESS, LONG, open_stage, processes

from integration import rows
from integration.messages import waiting
from models.clock import now


@pytest.fixture(scope="module")
def stage(postgres_url):
    # Two trainings and what else the host does keep a heartbeat waiting for longer than one would.
    with open_stage(url=postgres_url, workers=2, lease_seconds=4) as stage:
        yield stage


@contextmanager
def frozen(processes) -> Iterator[None]:
    for each in processes:
        each.suspend()
    try:
        yield
    finally:
        for each in processes:
            each.resume()


def database_time(stage):
    with stage.database.reading() as session:
        return session.scalar(select(now()))


def test_a_zombie_that_wakes_up_after_its_job_was_done_elsewhere_changes_nothing(
    stage, undisturbed
):
    job_id = stage.submit_one(LONG)
    stage.wait_for_checkpoint(job_id)
    supervisor, celery, child = processes(stage.holder(job_id))

    with frozen([supervisor, celery, child]):
        stage.wait_for_end(job_id)
        before = stage.record()
        child.resume()
        stage.wait_for_log(f"job {job_id} attempt 1: fenced off")

    assert stage.record() == before
    assert stage.outcomes(job_id) == ["lost", "succeeded"]
    assert stage.figures(job_id) == undisturbed(LONG)


def test_a_job_whose_whole_worker_is_killed_goes_on_at_another(stage, undisturbed):
    job_id = stage.submit_one(LONG)
    stage.wait_for_checkpoint(job_id)
    holder, name = stage.holder(job_id), stage.job(job_id).worker

    for process in processes(holder):
        process.kill()
    stage.wait_for_end(job_id)
    holder.restart_if_dead()

    lost, last = stage.attempts(job_id)
    assert (lost.worker, lost.outcome, lost.detail) == (name, "lost", f"{name} fell silent")
    assert (last.outcome, last.number) == ("succeeded", 2)
    assert last.worker != name
    assert last.resumed_epoch > 0
    assert stage.figures(job_id) == undisturbed(LONG)


def test_a_worker_whose_clock_is_an_hour_off_loses_no_lease_and_takes_none(stage):
    another_shape = ENDLESS.model_copy(update={"batch_size": 40})  # which is not packed with it
    jobs = stage.submit(ENDLESS, another_shape)
    for job_id in jobs:
        stage.wait_for_start(job_id)
    in_two_leases = database_time(stage) + timedelta(seconds=2 * stage.lease_seconds)

    stage.wait_until(lambda: database_time(stage) > in_two_leases, "two leases are over")

    running, time = [stage.job(job_id) for job_id in jobs], database_time(stage)
    assert [stage.outcomes(job_id) for job_id in jobs] == [[None], [None]]
    assert [(job.state, job.attempt) for job in running] == [("running", 1)] * 2
    assert running[0].worker != running[1].worker
    assert all(abs(job.started_at - time) < timedelta(minutes=10) for job in running)
    assert all(abs(job.lease_until - time) <= timedelta(seconds=10) for job in running)
    stage.cancel(*jobs)


def test_a_submit_that_is_repeated_with_its_token_makes_no_job_run_twice(stage):
    specs = [rows.spec(seed=seed) for seed in range(4)]

    first = stage.submit_as("the same token", *specs)
    again = stage.submit_as("the same token", *specs)
    states = stage.wait_for_end(*first.job_ids)
    stage.wait_until(lambda: not waiting(stage.redis), "all messages were taken")

    assert again.job_ids == first.job_ids
    assert states == ["succeeded"] * 4
    assert [stage.outcomes(job_id) for job_id in first.job_ids] == [["succeeded"]] * 4
