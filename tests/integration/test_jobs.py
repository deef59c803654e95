import pytest
from sqlalchemy import select

from integration import rows
from integration.messages import waiting_jobs
from integration.rows import SPEC, FakeBroker
from models.database import Database
from models.errors import UsageError
from models.message import Priority
from models.state import Outcome
from models.tables import Pause, Worker
from servers import RedisServer
from service import jobs
from service.jobs import Change
from service.jobs.broker import Broker
from service.queries.selectors import ids_condition
from worker.execution.recorder import AttemptUpdate, Recorder


def cancel(database: Database, *job_ids: int) -> list[str]:
    return [change.change for change in jobs.cancel(database, ids_condition(job_ids))]


def retry(database: Database, job_id: int, *, from_scratch: bool = False) -> list[str]:
    which = ids_condition([job_id])
    changes = jobs.retry(database, FakeBroker(), which, from_scratch=from_scratch)
    return [change.change for change in changes]


def hold(database: Database, job_id: int) -> list[str]:
    return [change.change for change in jobs.hold(database, ids_condition([job_id]))]


def release(database: Database, job_id: int) -> list[str]:
    changes = jobs.release(database, FakeBroker(), ids_condition([job_id]))
    return [change.change for change in changes]


def run_half(recorder: Recorder, job_id: int) -> None:
    """Run a job up to a checkpoint after its second epoch, and have it fail."""
    claim = rows.claim(recorder, job_id)
    rows.record(
        recorder, claim, AttemptUpdate((rows.measured(1), rows.measured(2)), f"{job_id}/1-2-0", 2)
    )
    rows.fail(recorder, claim, "no more")


def finish(recorder: Recorder, job_id: int) -> None:
    rows.succeed(recorder, rows.claim(recorder, job_id), AttemptUpdate(rows.measured_all()))


def test_a_queued_job_is_cancelled_at_once(database: Database):
    job_id = rows.submit_one(database)

    changes = jobs.cancel(database, ids_condition([job_id]))

    job = rows.job(database, job_id)
    assert changes == [Change(job_id, "cancelled")]
    assert (job.state, job.reason) == ("cancelled", "cancelled before it ran")
    assert job.finished_at
    assert rows.attempts(database, job_id) == []


def test_a_running_job_is_asked_to_stop(database: Database, recorder: Recorder):
    job_id = rows.submit_one(database)
    claim = rows.claim(recorder, job_id)

    changes = cancel(database, job_id)

    assert changes == ["stopping"]
    assert rows.job(database, job_id).state == "running"
    assert rows.is_cancelled(recorder, claim)


def test_a_running_job_whose_lease_expired_is_cancelled_at_once(
    database: Database, recorder: Recorder
):
    job_id = rows.submit_one(database)
    rows.claim(recorder, job_id)
    rows.expire(database, job_id)

    changes = cancel(database, job_id)

    (attempt,) = rows.attempts(database, job_id)
    assert changes == ["cancelled"]
    assert rows.job(database, job_id).state == "cancelled"
    assert attempt.outcome == Outcome.LOST


@pytest.mark.parametrize("state", ["succeeded", "failed", "cancelled"])
def test_a_job_that_ended_is_left_as_it_is_by_cancel(database: Database, state: str):
    job_id = rows.submit_one(database)
    rows.change(database, job_id, state=state)
    before = rows.everything(database)

    changes = cancel(database, job_id)

    assert changes == [f"already {state}"]
    assert rows.everything(database) == before


def test_cancel_names_each_job_in_order(database: Database, recorder: Recorder):
    first, second, third = rows.submit(database, SPEC, SPEC, SPEC)
    rows.claim(recorder, second)

    changes = jobs.cancel(database, ids_condition([third, first, second]))

    assert changes == [
        Change(first, "cancelled"),
        Change(second, "stopping"),
        Change(third, "cancelled"),
    ]


def test_a_job_with_a_cancel_request_is_cancelled_also_if_its_worker_exits_first(
    database: Database, recorder: Recorder
):
    job_id = rows.submit_one(database)
    claim = rows.claim(recorder, job_id)
    cancel(database, job_id)

    rows.release(recorder, claim)

    assert rows.job(database, job_id).state == "cancelled"


def test_a_failed_job_is_queued_again_and_goes_on_from_its_checkpoint(
    database: Database, recorder: Recorder
):
    job_id = rows.submit_one(database)
    run_half(recorder, job_id)

    changes = retry(database, job_id)

    job = rows.job(database, job_id)
    assert changes == ["queued"]
    assert (job.state, job.reason, job.finished_at, job.crashes) == ("queued", None, None, 0)
    assert (job.checkpoint, job.epochs_done, job.attempt) == (f"{job_id}/1-2-0", 2, 1)
    assert rows.claim(recorder, job_id).attempt == 2


def test_a_job_retried_from_scratch_forgets_what_it_reached(database: Database, recorder: Recorder):
    job_id = rows.submit_one(database)
    run_half(recorder, job_id)

    changes = retry(database, job_id, from_scratch=True)

    job = rows.job(database, job_id)
    assert changes == ["queued"]
    assert (job.checkpoint, job.checkpoint_epoch, job.epochs_done) == (None, 0, 0)
    assert rows.epochs(database, job_id) == []


def test_a_cancelled_job_may_be_retried_and_runs_to_its_end(database: Database, recorder: Recorder):
    job_id = rows.submit_one(database)
    cancel(database, job_id)

    changes = retry(database, job_id)
    finish(recorder, job_id)

    assert changes == ["queued"]
    assert rows.job(database, job_id).state == "succeeded"


def test_a_job_that_was_cancelled_while_it_ran_is_not_cancelled_again_after_its_retry(
    database: Database, recorder: Recorder
):
    job_id = rows.submit_one(database)
    claim = rows.claim(recorder, job_id)
    cancel(database, job_id)
    rows.cancel(recorder, claim)

    retry(database, job_id)
    claim = rows.claim(recorder, job_id)

    assert not rows.is_cancelled(recorder, claim)


def test_retry_resets_the_crashes_of_a_job(database: Database, recorder: Recorder):
    job_id = rows.submit_one(database)
    rows.change(database, job_id, state="failed", crashes=3)

    retry(database, job_id)

    assert rows.job(database, job_id).crashes == 0


@pytest.mark.parametrize("state", ["queued", "running", "succeeded"])
def test_a_job_that_neither_failed_nor_was_cancelled_is_not_retried(database: Database, state: str):
    job_id = rows.submit_one(database)
    rows.change(database, job_id, state=state)
    before = rows.everything(database)

    changes = retry(database, job_id)

    assert changes == [f"already {state}"]
    assert rows.everything(database) == before


def test_a_held_job_that_was_cancelled_and_retried_may_be_started(
    database: Database, recorder: Recorder
):
    """`retry` says that it is queued, so it has to be."""
    job_id = rows.submit_one(database)
    hold(database, job_id)
    cancel(database, job_id)

    changes = retry(database, job_id)

    assert changes == ["queued"]
    assert rows.claim_next(recorder)


def test_retry_sends_a_message(database: Database, broker: Broker, redis: RedisServer):
    job_id = rows.submit_one(database)
    cancel(database, job_id)

    jobs.retry(database, broker, ids_condition([job_id]), from_scratch=False)

    assert waiting_jobs(redis) == [job_id]


def test_without_redis_a_retried_job_is_queued_all_the_same(
    database: Database, broker: Broker, redis: RedisServer
):
    job_id = rows.submit_one(database)
    cancel(database, job_id)
    redis.stop()

    changes = jobs.retry(database, broker, ids_condition([job_id]), from_scratch=False)

    job = rows.job(database, job_id)
    assert changes == [Change(job_id, "queued")]
    assert job.state == "queued"


def test_a_held_job_is_not_claimed_until_it_is_released(database: Database, recorder: Recorder):
    job_id = rows.submit_one(database)

    held = hold(database, job_id)
    refused = rows.claim_next(recorder)
    released = release(database, job_id)
    claimed = rows.claim_next(recorder)

    assert (held, released) == (["held"], ["queued"])
    assert refused is None
    assert claimed


def test_a_released_job_gets_a_message_since_its_first_may_have_been_dropped(
    database: Database, broker: Broker, redis: RedisServer
):
    held, other = rows.submit(database, SPEC, SPEC)
    hold(database, held)

    jobs.release(database, broker, ids_condition([held, other]))

    assert waiting_jobs(redis) == [held]


@pytest.mark.parametrize("state", ["running", "succeeded", "failed", "cancelled"])
def test_a_job_that_does_not_wait_is_not_held(database: Database, state: str):
    job_id = rows.submit_one(database)
    rows.change(database, job_id, state=state)
    before = rows.everything(database)

    changes = hold(database, job_id)

    assert changes == [f"already {state}"]
    assert rows.everything(database) == before


def test_a_job_that_is_not_held_is_not_released(database: Database):
    job_id = rows.submit_one(database)
    before = rows.everything(database)

    changes = release(database, job_id)

    assert changes == ["was not held"]
    assert rows.everything(database) == before


def test_while_the_queue_is_paused_no_job_is_claimed(database: Database, recorder: Recorder):
    rows.submit_one(database)

    jobs.pause(database)
    paused = rows.claim_next(recorder)
    jobs.resume(database, FakeBroker())
    resumed = rows.claim_next(recorder)

    assert paused is None
    assert resumed


def test_a_second_pause_and_a_second_resume_change_nothing(database: Database):
    jobs.pause(database)
    jobs.pause(database)
    paused = rows.find(database, Pause, 1)

    jobs.resume(database, FakeBroker())
    jobs.resume(database, FakeBroker())

    assert paused
    assert rows.find(database, Pause, 1) is None


def test_a_pause_lets_running_jobs_go_on(database: Database, recorder: Recorder):
    job_id = rows.submit_one(database)
    claim = rows.claim(recorder, job_id)

    jobs.pause(database)
    rows.succeed(recorder, claim, AttemptUpdate(rows.measured_all()))

    assert rows.job(database, job_id).state == "succeeded"


def test_resume_sends_a_message_for_each_job_that_waits(
    database: Database, broker: Broker, redis: RedisServer, recorder: Recorder
):
    waits, held, runs, ended = rows.submit(database, SPEC, SPEC, SPEC, SPEC)
    hold(database, held)
    rows.claim(recorder, runs)
    cancel(database, ended)
    jobs.pause(database)

    unsent = jobs.resume(database, broker)

    assert unsent is None
    assert waiting_jobs(redis) == [waits]


def test_queued_jobs_are_given_another_priority_and_others_keep_theirs(
    database: Database, recorder: Recorder
):
    first, second, running = rows.submit(database, SPEC, SPEC, SPEC)
    rows.claim(recorder, running)

    changes = jobs.prioritize(database, ids_condition([second, running]), Priority.HIGH)

    assert [change.change for change in changes] == ["high priority", "already running"]
    assert rows.log(database, second) == ["priority high"]
    taken = [rows.claim_next(recorder) for _ in range(2)]
    assert [claim and claim.job_id for claim in taken] == [second, first]


def test_without_redis_the_queue_is_resumed_and_resume_says_what_is_missing(
    database: Database, broker: Broker, redis: RedisServer
):
    rows.submit_one(database)
    jobs.pause(database)
    redis.stop()

    unsent = jobs.resume(database, broker)

    assert unsent
    assert "does not answer" in unsent
    assert rows.find(database, Pause, 1) is None


def worker_states(database: Database) -> dict[str, str]:
    with database.reading() as session:
        return {worker.id: worker.state for worker in session.scalars(select(Worker))}


def test_drain_has_one_worker_exit_after_its_job(database: Database):
    rows.add_worker(database, "cpu0-1@here")
    rows.add_worker(database, "cpu1-1@here")

    drained = jobs.drain(database, "cpu1-1@here")

    assert drained == ["cpu1-1@here"]
    assert worker_states(database) == {"cpu0-1@here": "active", "cpu1-1@here": "draining"}


def test_drain_has_all_workers_exit_after_their_jobs(database: Database):
    rows.add_worker(database, "cpu1-1@here")
    rows.add_worker(database, "cpu0-1@here")

    drained = jobs.drain(database, None)

    assert drained == ["cpu0-1@here", "cpu1-1@here"]
    assert set(worker_states(database).values()) == {"draining"}


def test_draining_an_unknown_worker_is_a_usage_error(database: Database):
    with pytest.raises(UsageError, match=r"no worker 'cpu9'\. Type: dq workers"):
        jobs.drain(database, "cpu9")


def test_each_change_of_a_job_is_in_its_log(database: Database, recorder: Recorder):
    job_id = rows.submit_one(database)

    hold(database, job_id)
    release(database, job_id)
    claim = rows.claim(recorder, job_id)
    cancel(database, job_id)
    rows.cancel(recorder, claim)
    retry(database, job_id)
    retry_line = rows.log(database, job_id)[-1]
    finish(recorder, job_id)

    assert retry_line == "queued again"
    assert rows.log(database, job_id) == [
        "held",
        "released",
        "claimed by cpu0-1@here",
        "cancelled: cancelled while running",
        "queued again",
        "claimed by cpu0-1@here",
        "succeeded",
    ]
