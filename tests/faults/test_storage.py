"""Where dq keeps things, failing: PostgreSQL, the disk of the checkpoints, a checkpoint."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from stage import ENDLESS, LONG, open_stage

from integration import rows
from models.tables import Job
from servers import PostgresServer
from service import jobs

#: Bytes that a process may write to a file of a disk that is all but full.
FULL = 4096
#: More epochs than lie between two checkpoints of LONG.
MANY = 30


@pytest.fixture(scope="module")
def stage(postgres_url):
    with open_stage(url=postgres_url) as stage:
        yield stage


@contextmanager
def outage(postgres: PostgresServer) -> Iterator[None]:
    postgres.stop(signal.SIGQUIT)
    try:
        yield
    finally:
        postgres.start()


def is_blocked(postgres: PostgresServer) -> bool:
    """Return whether a transaction waits for another's lock."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    return postgres.execute(waiting) != [(0,)]


def newest_epoch(folder: Path) -> int:
    """Return the epoch of the newest checkpoint, `<attempt>-<epoch>-<batch>`."""
    return max(int(path.name.split("-")[1]) for path in folder.iterdir())


def test_a_training_goes_on_while_the_database_is_down_for_several_leases(stage, postgres):
    job_id = stage.submit_one(ENDLESS)
    before = stage.wait_for_epochs(job_id).epochs_done
    seconds = 4 * stage.lease_seconds

    with outage(postgres):
        time.sleep(seconds)
    stage.wait_for_epochs(job_id, after=before)

    meanwhile = rows.epochs(stage.database, job_id)[before:]
    assert sum(epoch.seconds for epoch in meanwhile) > seconds / 2
    assert stage.job(job_id).attempt == 1
    stage.cancel(job_id)
    assert len(stage.outcomes(job_id)) == 1


def test_a_training_that_ends_while_the_database_is_down_for_a_lease_loses_nothing(
    stage, postgres, undisturbed
):
    job_id = stage.submit_one(LONG)
    stage.wait_for_start(job_id)

    with outage(postgres):
        stage.wait_for_log("(trying again)")
        time.sleep(stage.lease_seconds)
    stage.wait_for_end(job_id)

    assert stage.outcomes(job_id) == ["succeeded"]
    assert stage.figures(job_id) == undisturbed(LONG)


def test_the_checkpoint_that_sql_names_is_there_however_long_sql_takes(stage, postgres):
    job_id = stage.submit_one(ENDLESS)
    stage.wait_for_checkpoint(job_id)
    process, folder = stage.trainer(job_id), stage.settings.checkpoints
    saved = folder / str(job_id)

    with stage.database.writing() as session:
        old = session.get_one(Job, job_id, with_for_update=True).checkpoint
        stage.wait_until(lambda: is_blocked(postgres), "the heartbeat waits for the row")
        newest = newest_epoch(saved)
        stage.wait_until(lambda: newest_epoch(saved) > newest + MANY, "others are saved")
    stage.wait(job_id, lambda job: job.checkpoint != old, "has another checkpoint")
    process.suspend()
    is_there = (folder / stage.job(job_id).checkpoint).is_file()
    process.resume()

    assert is_there
    stage.cancel(job_id)


def test_a_job_whose_checkpoints_cannot_be_written_succeeds_without(stage, undisturbed):
    (job_id,) = rows.submit(stage.database, LONG)
    stage.settings.checkpoints.mkdir(exist_ok=True)
    (stage.settings.checkpoints / str(job_id)).write_text("a file where a folder should be")

    stage.broker.publish([rows.message(stage.database, job_id)])
    stage.wait_for_end(job_id)

    assert f"job {job_id} attempt 1: goes on without a checkpoint" in stage.logs()
    assert stage.outcomes(job_id) == ["succeeded"]
    assert stage.figures(job_id) == undisturbed(LONG)


def test_a_job_goes_on_from_the_last_checkpoint_that_a_full_disk_took(stage, undisturbed):
    job_id = stage.submit_one(LONG)
    stage.wait_for_checkpoint(job_id)
    process = stage.trainer(job_id)

    process.rlimit(psutil.RLIMIT_FSIZE, (FULL, FULL))
    job = stage.wait(
        job_id, lambda job: job.epochs_done > job.checkpoint_epoch + MANY, "saves nothing more"
    )
    process.kill()
    stage.wait_for_end(job_id)

    assert stage.outcomes(job_id) == ["lost", "succeeded"]
    assert stage.attempts(job_id)[1].resumed_epoch == job.checkpoint_epoch > 0
    assert stage.figures(job_id) == undisturbed(LONG)


def test_a_job_whose_checkpoint_is_cut_off_between_two_attempts_starts_over(stage, undisturbed):
    job_id = stage.submit_one(LONG)
    stage.wait_for_checkpoint(job_id)
    jobs.pause(stage.database)
    stage.trainer(job_id).kill()
    lost = stage.wait(job_id, lambda job: job.state == "queued", "is lost")

    checkpoint = stage.settings.checkpoints / lost.checkpoint
    os.truncate(checkpoint, checkpoint.stat().st_size // 2)
    jobs.resume(stage.database, stage.broker)
    stage.wait_for_end(job_id)

    assert f"job {job_id} attempt 2: starts from scratch" in stage.logs()
    assert stage.attempts(job_id)[1].resumed_epoch == 0
    assert "resumed from scratch: no usable checkpoint" in rows.log(stage.database, job_id)
    assert stage.figures(job_id) == undisturbed(LONG)
