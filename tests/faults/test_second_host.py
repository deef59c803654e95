"""A worker on a second host, which is cut off from Redis and SQL for longer than its lease."""

import time

import pytest
from stage import LONG, SHORT, Stage

from faults.network import (
    DistantWorker,
    ReachablePostgres,
    ReachableRedis,
    second_host,
    why_no_second_host,
)
from integration import rows
from models.state import JobState
from servers import short_folder
from service.operations.schema import upgrade

ENDS = ("attempt 1: fenced off", "which is stuck on a lost job")
why = why_no_second_host()
pytestmark = pytest.mark.skipif(bool(why), reason=f"no second host here: {why}")


@pytest.fixture(scope="module")
def host():
    with second_host() as made:
        yield made


@pytest.fixture(scope="module")
def stage(host):
    with short_folder("dq-net-") as folder:
        folder.chmod(0o755)  # PostgreSQL runs as nobody
        (folder / "pg").mkdir()
        postgres, redis = ReachablePostgres(folder / "pg"), ReachableRedis(folder)
        postgres.initialise()
        postgres.start()
        redis.start()
        opened = Stage(folder, redis, postgres, url=postgres.distant_url("postgres"))
        try:
            upgrade(opened.database)
            distant = DistantWorker(opened._environment(), folder / "distant.log", host=host.name)
            distant.start()
            opened.workers.append(distant)
            yield opened
        finally:
            opened.stop()


def test_a_host_that_was_cut_off_for_longer_than_its_lease_writes_nothing_for_the_job_it_lost(
    stage, host, undisturbed
):
    job_id = stage.submit_one(LONG)
    stage.wait_for_checkpoint(job_id)
    assert stage.job(job_id).worker.endswith(f"@{host.name}")

    with host.cut_off():
        stage.add_worker()
        stage.wait_for_end(job_id)
        before = stage.record()
        stage.wait_until(lambda: "does not answer" in distant_log(stage), "it notices")
    # The child finds out by itself, unless its supervisor is quicker.
    stage.wait_until(lambda: any(word in distant_log(stage) for word in ENDS), "it is off the job")
    time.sleep(1)  # for whatever else it might write

    assert stage.record() == before
    first, second = stage.attempts(job_id)
    assert (first.outcome, second.outcome) == ("lost", "succeeded")
    assert first.worker.endswith(f"@{host.name}")
    assert not second.worker.endswith(f"@{host.name}")
    assert stage.figures(job_id) == undisturbed(LONG)


def test_once_it_is_back_it_takes_jobs_again(stage, host):
    for worker in stage.workers[1:]:
        worker.stop()

    job_id = stage.submit_one(SHORT.model_copy(update={"seed": 99}))

    assert stage.wait_for_end(job_id) == [JobState.SUCCEEDED]
    assert rows.attempts(stage.database, job_id)[-1].worker.endswith(f"@{host.name}")


def distant_log(stage):
    return stage.workers[0].log.read_text(errors="replace")
