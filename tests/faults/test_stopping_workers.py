"""How a worker ends: told to stop, told to stop at once, drained, or losing its Celery process."""

import pytest
from stage import ENDLESS, LONG, ONE_EPOCH, PATIENCE, SHORT, is_alive, open_stage, processes

from integration import rows

#: What a worker logs that waited in vain for one of its processes to stop.
IN_VAIN = " did not stop in time: killed"


@pytest.fixture(scope="module")
def stage():
    with open_stage() as stage:
        yield stage


@pytest.fixture
def worker(stage):
    """The worker, started again if an earlier test ended it."""
    stage.worker.restart_if_dead()
    return stage.worker


def terminate(worker) -> None:
    """Send SIGTERM, and wait until the worker has ended."""
    worker.process.terminate()
    worker.process.wait(PATIENCE)


def test_a_worker_that_is_told_to_stop_while_it_starts_kills_no_process_of_its_own(stage, worker):
    stage.wait_until(worker.child, "it has a child, which has torch to import")
    killed = stage.logs().count(" died: ")

    terminate(worker)

    assert worker.process.returncode == 0
    assert stage.logs().count(" died: ") == killed


def test_a_worker_that_is_told_to_stop_gives_its_job_back_and_the_next_goes_on_in_its_epoch(
    stage, worker, undisturbed
):
    job_id = stage.submit_one(ONE_EPOCH)
    stage.wait_for_batches(job_id)

    terminate(worker)
    given_back, (released,) = stage.job(job_id), stage.attempts(job_id)
    was_saved = (stage.settings.checkpoints / f"{given_back.checkpoint}").is_file()
    worker.restart_if_dead()
    stage.wait_for_end(job_id)

    assert (given_back.state, given_back.crashes) == ("queued", 0)
    assert (released.outcome, released.detail) == ("released", "the worker was told to stop")
    assert was_saved
    assert stage.outcomes(job_id) == ["released", "succeeded"]
    assert "resumed from epoch 0, batch " in str(rows.log(stage.database, job_id))
    assert stage.figures(job_id) == undisturbed(ONE_EPOCH)


def test_a_second_sigterm_ends_a_worker_at_once_whatever_its_process_does(stage, worker):
    job_id = stage.submit_one(ENDLESS)
    stage.wait_for_start(job_id)
    _, celery, child = processes(worker)
    waits = stage.logs().count(IN_VAIN)

    child.suspend()
    with stage.awaiting_log("stopping: running jobs are given back"):
        worker.process.terminate()
    terminate(worker)

    assert stage.logs().count(IN_VAIN) == waits
    stage.wait_until(lambda: not is_alive(celery) and not is_alive(child), "its processes ended")
    assert stage.job(job_id).state == "queued"
    assert stage.outcomes(job_id) == ["released"]
    stage.cancel(job_id)


def test_a_job_whose_process_hangs_when_its_worker_is_told_to_stop_is_given_back(stage, worker):
    job_id = stage.submit_one(ENDLESS)
    stage.wait_for_start(job_id)
    _, celery, child = processes(worker)

    child.suspend()
    with stage.awaiting_log(IN_VAIN):
        terminate(worker)

    stage.wait_until(lambda: not is_alive(celery) and not is_alive(child), "its processes ended")
    assert stage.job(job_id).state == "queued"
    assert stage.outcomes(job_id) == ["released"]
    stage.cancel(job_id)


def test_a_worker_whose_supervisor_is_killed_gives_its_job_back_and_ends(stage, worker):
    job_id = stage.submit_one(ENDLESS)
    stage.wait_for_start(job_id)
    supervisor, celery, child = processes(worker)

    supervisor.kill()

    stage.wait_until(lambda: not is_alive(celery) and not is_alive(child), "its processes ended")
    assert stage.outcomes(job_id) == ["released"]
    stage.cancel(job_id)


def test_a_process_that_hangs_after_it_lost_its_job_is_replaced(stage, worker, undisturbed):
    job_id = stage.submit_one(LONG)
    stage.wait_for_checkpoint(job_id)
    _, celery, child = processes(worker)

    child.suspend()
    stage.wait_for_end(job_id)

    assert not is_alive(child)
    assert worker.celery().pid == celery.pid
    assert stage.outcomes(job_id) == ["lost", "succeeded"]
    assert stage.figures(job_id) == undisturbed(LONG)


def test_a_drained_worker_finishes_its_job_takes_no_other_and_ends(stage, worker):
    running, waiting = stage.submit(LONG, SHORT)
    stage.wait_for_start(running)

    stage.dq("drain")
    worker.process.wait(PATIENCE)

    assert worker.process.returncode == 0
    assert stage.outcomes(running) == ["succeeded"]
    assert stage.job(waiting).state == "queued"
    assert stage.outcomes(waiting) == []
    stage.cancel(waiting)


def test_a_celery_process_that_is_killed_is_replaced_and_the_job_goes_on(
    stage, worker, undisturbed
):
    job_id = stage.submit_one(LONG)
    stage.wait_for_checkpoint(job_id)
    _, celery, child = processes(worker)

    celery.kill()
    stage.wait_for_end(job_id)

    assert not is_alive(child)
    assert worker.celery().pid != celery.pid
    assert worker.process.poll() is None
    assert stage.outcomes(job_id) == ["lost", "succeeded"]
    assert stage.attempts(job_id)[1].resumed_epoch > 0
    assert stage.figures(job_id) == undisturbed(LONG)
