"""Jobs that are trained together, struck together: each goes on by itself, and none is blamed."""

import pytest
from stage import LONG, SHORT, open_stage

from integration import rows
from integration.messages import waiting_jobs

PACK = [LONG.model_copy(update={"seed": seed, "epochs": 200}) for seed in range(3)]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def stage(request):
    url = request.getfixturevalue("postgres_url") if request.param == "postgresql" else ""
    with open_stage(url=url, lease_seconds=90) as stage:
        yield stage


def start_together(stage) -> list[int]:
    """Submit the pack, and wait until each has a checkpoint."""
    job_ids = stage.submit(*PACK)
    for job_id in job_ids:
        stage.wait_for_checkpoint(job_id)
    assert len({stage.attempts(job_id)[0].pid for job_id in job_ids}) == 1
    assert all(stage.job(job_id).packed for job_id in job_ids)
    return job_ids


def test_a_job_starts_at_once_behind_messages_of_jobs_that_have_ended(stage):
    ended = stage.submit(*[SHORT.model_copy(update={"seed": seed}) for seed in range(100)])
    stage.wait_for_end(*ended)
    stage.broker.publish([rows.message(stage.database, job_id) for job_id in ended])

    states = stage.wait_for_end(stage.submit_one(SHORT))

    assert states == ["succeeded"]
    stage.wait_until(lambda: not waiting_jobs(stage.redis), "the others are taken in vain")


def test_each_goes_on_from_its_checkpoint_after_their_process_was_killed(stage, undisturbed):
    job_ids = start_together(stage)

    stage.trainer(job_ids[0]).kill()
    states = stage.wait_for_end(*job_ids)

    assert states == ["succeeded"] * 3
    for job_id, spec in zip(job_ids, PACK, strict=True):
        _, last = stage.attempts(job_id)
        assert stage.outcomes(job_id) == ["lost", "succeeded"]
        assert last.resumed_epoch > 0
        assert stage.job(job_id).crashes == 0
        assert stage.figures(job_id) == undisturbed(spec)


def test_each_is_given_back_with_a_checkpoint_when_their_worker_is_told_to_stop(stage, undisturbed):
    job_ids = start_together(stage)

    stage.worker.process.terminate()
    stage.worker.process.wait(60)
    given_back = [stage.job(job_id) for job_id in job_ids]
    saved = [(stage.settings.checkpoints / str(job.checkpoint)).is_file() for job in given_back]
    stage.worker.restart_if_dead()
    states = stage.wait_for_end(*job_ids)

    assert [(job.state, job.crashes, job.suspect) for job in given_back] == [
        ("queued", 0, False)
    ] * 3
    assert saved == [True] * 3
    assert states == ["succeeded"] * 3
    for job_id, spec in zip(job_ids, PACK, strict=True):
        assert stage.outcomes(job_id) == ["released", "succeeded"]
        assert stage.figures(job_id) == undisturbed(spec)


def test_one_that_is_cancelled_leaves_and_the_others_go_on(stage, undisturbed):
    job_ids = start_together(stage)

    stage.cancel(job_ids[1])
    states = stage.wait_for_end(*job_ids)

    assert states == ["succeeded", "cancelled", "succeeded"]
    for number in (0, 2):
        assert stage.outcomes(job_ids[number]) == ["succeeded"]
        assert stage.figures(job_ids[number]) == undisturbed(PACK[number])
