import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select, update

from integration import rows
from integration.conftest import LEASE_SECONDS, LostAnswer
from integration.messages import waiting_jobs
from integration.rows import SPEC
from models.clock import from_now
from models.database import Database
from models.errors import BrokerUnreachable, DatabaseUnreachable
from models.message import JobMessage
from models.settings import Settings
from models.state import Outcome
from models.tables import Job
from servers import Outage, RedisServer
from service import jobs
from service.jobs.broker import Broker
from service.queries.selectors import ids_condition
from worker.execution.recorder import AttemptUpdate, Recorder
from worker.queue.app import make_publisher
from worker.queue.publishing import Publisher
from worker.supervisor.reconciler import Reconciler, Repairs

#: A message that waits in Redis, so that an empty queue proves nothing.
ANOTHER_MESSAGE = JobMessage(10**6, {})


def crash(recorder: Recorder, job_id: int, checkpoint_epoch: int | None = None) -> None:
    """Have an attempt take the job, write a checkpoint perhaps, and fall silent."""
    claim = rows.claim(recorder, job_id)
    if checkpoint_epoch is not None:
        name = f"{job_id}/{claim.attempt}-{checkpoint_epoch}-0"
        rows.record(recorder, claim, AttemptUpdate((), name, checkpoint_epoch))
    rows.expire(recorder.database, job_id)


def republish(reconciler: Reconciler, redis: RedisServer) -> list[int]:
    """Return the jobs whose messages one pass sends."""
    before = waiting_jobs(redis)
    reconciler.reconcile()
    return waiting_jobs(redis)[len(before) :]


def at_once(*passes: Callable[[], Any]) -> list[Any]:
    """Call the functions in threads, all at the same moment, and return what they return."""
    barrier = threading.Barrier(len(passes))
    returned: list[Any] = []

    def call(function: Callable[[], Any]) -> None:
        barrier.wait()
        returned.append(function())

    threads = [threading.Thread(target=call, args=[each]) for each in passes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(returned) == len(passes)
    return returned


# Leases


def test_a_job_whose_worker_fell_silent_waits_again_and_its_message_is_sent(
    database: Database, reconciler: Reconciler, recorder: Recorder, redis: RedisServer
):
    job_id = rows.submit_one(database)
    rows.add_worker(database, "idle@here")
    crash(recorder, job_id)

    repairs = reconciler.reconcile()

    job = rows.job(database, job_id)
    (attempt,) = rows.attempts(database, job_id)
    assert repairs == Repairs(lost=1, republished=1)
    assert waiting_jobs(redis) == [job_id]
    assert (job.state, job.worker, job.lease_until, job.crashes) == ("queued", None, None, 1)
    assert (attempt.outcome, attempt.detail) == (Outcome.LOST, "cpu0-1@here fell silent")
    assert attempt.ended_at
    assert rows.log(database, job_id)[-1] == "lost: cpu0-1@here fell silent"


def test_a_job_whose_lease_runs_is_left_alone(
    database: Database, reconciler: Reconciler, recorder: Recorder
):
    rows.claim(recorder, rows.submit_one(database))
    before = rows.everything(database)

    repairs = reconciler.reconcile()

    assert repairs == Repairs()
    assert rows.everything(database) == before


def test_a_second_pass_finds_nothing_to_do(
    database: Database, reconciler: Reconciler, recorder: Recorder
):
    crash(recorder, rows.submit_one(database))
    rows.submit_one(database)
    reconciler.reconcile()
    before = rows.everything(database)

    repairs = reconciler.reconcile()

    assert repairs == Repairs()
    assert rows.everything(database) == before


def test_a_job_that_kills_its_workers_fails_and_says_so(
    database: Database, reconciler: Reconciler, recorder: Recorder
):
    job_id = rows.submit_one(database, max_crashes=3)

    for _ in range(3):
        crash(recorder, job_id)
        reconciler.reconcile()

    job = rows.job(database, job_id)
    assert (job.state, job.reason) == ("failed", "crashed 3 times: cpu0-1@here fell silent")
    assert job.finished_at
    assert [attempt.outcome for attempt in rows.attempts(database, job_id)] == [Outcome.LOST] * 3


@pytest.mark.parametrize(("max_crashes", "state"), [(1, "failed"), (2, "queued")])
def test_a_job_survives_fewer_crashes_than_it_may_have(
    *,
    database: Database,
    reconciler: Reconciler,
    recorder: Recorder,
    max_crashes: int,
    state: str,
):
    job_id = rows.submit_one(database, max_crashes=max_crashes)

    crash(recorder, job_id)
    reconciler.reconcile()

    assert rows.job(database, job_id).state == state


def test_a_crash_after_a_newer_checkpoint_counts_as_the_first(
    database: Database, reconciler: Reconciler, recorder: Recorder
):
    job_id = rows.submit_one(database, max_crashes=3)
    crashes = []

    for checkpoint_epoch in (None, None, 1, None, 2, None, None):
        crash(recorder, job_id, checkpoint_epoch)
        reconciler.reconcile()
        crashes.append(rows.job(database, job_id).crashes)

    assert crashes == [1, 2, 1, 2, 1, 2, 3]
    assert rows.job(database, job_id).state == "failed"


def test_a_job_that_was_given_back_has_not_crashed(
    database: Database, reconciler: Reconciler, recorder: Recorder
):
    job_id = rows.submit_one(database, max_crashes=1)

    rows.release(recorder, rows.claim(recorder, job_id))
    reconciler.reconcile()

    job = rows.job(database, job_id)
    assert (job.state, job.crashes) == ("queued", 0)


def test_a_job_to_be_cancelled_whose_worker_fell_silent_is_cancelled(
    database: Database, reconciler: Reconciler, recorder: Recorder, redis: RedisServer
):
    job_id = rows.submit_one(database)
    rows.claim(recorder, job_id)
    jobs.cancel(database, ids_condition([job_id]))
    rows.expire(database, job_id)

    repairs = reconciler.reconcile()

    job = rows.job(database, job_id)
    assert repairs == Repairs(lost=1)
    assert (job.state, job.reason) == ("cancelled", "cancelled; cpu0-1@here fell silent")
    assert job.cancel_requested is False
    assert waiting_jobs(redis) == []


def test_a_claim_whose_answer_was_lost_costs_a_lease_and_not_the_job(
    *,
    database: Database,
    reconciler: Reconciler,
    recorder: Recorder,
    losing_an_answer: LostAnswer,
):
    job_id = rows.submit_one(database)
    with losing_an_answer():
        rows.claim_next(recorder)
    rows.expire(database, job_id)

    reconciler.reconcile()

    assert rows.job(database, job_id).state == "queued"
    assert rows.claim(recorder, job_id).attempt == 2


def test_six_hundred_jobs_of_a_host_that_died_wait_again(
    database: Database, reconciler: Reconciler
):
    rows.submit(database, *[SPEC] * 600)
    with database.writing() as session:
        lost = {"state": "running", "attempt": 1, "lease_until": from_now(-1), "worker": "w"}
        session.execute(update(Job).values(**lost))

    lost_jobs = reconciler.reconcile().lost
    while more := reconciler.reconcile().lost:
        lost_jobs += more

    with database.reading() as session:
        found = session.scalars(select(Job.state).distinct()).all()
    assert lost_jobs == 600
    assert found == ["queued"]


def test_after_an_outage_of_the_database_the_living_get_time_to_renew_their_leases(
    *, database: Database, publisher: Publisher, recorder: Recorder, outage: Outage
):
    reconciler = Reconciler(database, publisher, LEASE_SECONDS)
    claim = rows.claim(recorder, rows.submit_one(database))
    rows.expire(database, claim.job_id)
    with outage(database), pytest.raises(DatabaseUnreachable):
        reconciler.reconcile()

    right_after = reconciler.reconcile()
    rows.record(recorder, claim, AttemptUpdate())
    renewed = reconciler.reconcile()

    assert (right_after.lost, renewed.lost) == (0, 0)
    assert rows.job(database, claim.job_id).state == "running"


def test_after_an_outage_and_the_time_of_a_lease_the_silent_lose_their_jobs(
    *,
    database: Database,
    publisher: Publisher,
    recorder: Recorder,
    outage: Outage,
    monkeypatch: pytest.MonkeyPatch,
):
    reconciler = Reconciler(database, publisher, lease_seconds=60)
    job_id = rows.submit_one(database)
    crash(recorder, job_id)
    with outage(database), pytest.raises(DatabaseUnreachable):
        reconciler.reconcile()

    right_after = reconciler.reconcile()
    later = time.monotonic() + 60
    monkeypatch.setattr(time, "monotonic", lambda: later)
    after_a_lease = reconciler.reconcile()

    assert (right_after.lost, after_a_lease.lost) == (0, 1)
    assert rows.job(database, job_id).state == "queued"


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
def test_a_process_that_hangs_with_one_job_keeps_no_other_from_being_taken_over(
    database: Database, reconciler: Reconciler, recorder: Recorder
):
    locked, free = rows.submit(database, SPEC, SPEC)
    crash(recorder, locked)
    crash(recorder, free)

    with database.writing() as session:
        session.get_one(Job, locked, with_for_update=True)
        lost = reconciler.reconcile().lost

    assert lost == 1
    assert rows.states(database, [locked, free]) == ["running", "queued"]


# Messages


@pytest.fixture
def idle(database: Database) -> str:
    """A worker that runs nothing."""
    rows.add_worker(database, "cpu7-1@here")
    return "cpu7-1@here"


@pytest.mark.usefixtures("idle")
def test_a_message_is_sent_once_for_an_idle_worker_that_has_none(
    database: Database, reconciler: Reconciler, redis: RedisServer
):
    first, *_ = rows.submit(database, SPEC, SPEC)

    sent = [republish(reconciler, redis) for _ in range(2)]

    assert sent == [[first], []]


def test_idle_workers_get_as_many_messages_as_they_lack(
    *, database: Database, reconciler: Reconciler, publisher: Publisher, redis: RedisServer
):
    for number in range(4):
        rows.add_worker(database, f"cpu{number}-9@here")
    job_ids = rows.submit(database, *[SPEC] * 5)
    publisher.publish([ANOTHER_MESSAGE])

    sent = republish(reconciler, redis)

    assert len(sent) == len({*sent}) == 3
    assert {*sent} < {*job_ids}


@pytest.mark.parametrize("strike", [RedisServer.stop, lambda redis: redis.client().flushall()])
@pytest.mark.usefixtures("idle")
def test_a_redis_that_lost_its_messages_is_sent_what_idle_workers_lack(
    *,
    database: Database,
    reconciler: Reconciler,
    broker: Broker,
    redis: RedisServer,
    strike: Callable[[RedisServer], object],
):
    submitted = jobs.submit(database, broker, [SPEC, SPEC], jobs.SubmitOptions(), "token")
    strike(redis)
    redis.start()
    redis.client().flushall()

    assert republish(reconciler, redis) == [submitted.job_ids[0]]


def test_no_message_is_sent_where_no_worker_is_idle(
    *, database: Database, reconciler: Reconciler, recorder: Recorder, redis: RedisServer
):
    running, _ = rows.submit(database, SPEC, SPEC)
    rows.add_worker(database, recorder.worker)
    rows.add_worker(database, "silent@here", silent_seconds=999)
    rows.add_worker(database, "leaving@here", state="draining")
    rows.claim(recorder, running)

    assert republish(reconciler, redis) == []


def hold(database: Database, job_id: int) -> None:
    jobs.hold(database, ids_condition([job_id]))


def pause(database: Database, _: int) -> None:
    jobs.pause(database)


def back_off(database: Database, job_id: int) -> None:
    rows.change(database, job_id, not_before=from_now(9))


def end(database: Database, job_id: int) -> None:
    jobs.cancel(database, ids_condition([job_id]))


@pytest.mark.parametrize("hinder", [hold, pause, back_off, end])
@pytest.mark.usefixtures("idle")
def test_no_message_is_sent_for_a_job_that_may_not_start(
    *,
    database: Database,
    reconciler: Reconciler,
    redis: RedisServer,
    hinder: Callable[[Database, int], None],
):
    hinder(database, rows.submit_one(database))

    assert republish(reconciler, redis) == []


@pytest.mark.usefixtures("idle")
def test_without_redis_lost_leases_are_repaired_and_the_messages_wait(
    *, database: Database, reconciler: Reconciler, recorder: Recorder, redis: RedisServer
):
    job_id = rows.submit_one(database)
    crash(recorder, job_id)
    redis.stop()

    with pytest.raises(BrokerUnreachable):
        reconciler.reconcile()

    assert rows.job(database, job_id).state == "queued"
    redis.start()
    assert republish(reconciler, redis) == [job_id]


# Several reconcilers


def reconcilers(settings: Settings, count: int = 3) -> list[Reconciler]:
    """Return reconcilers with separate connections, as several workers have them."""
    return [
        Reconciler(Database(settings.sql_url), make_publisher(settings), LEASE_SECONDS)
        for _ in range(count)
    ]


def test_reconcilers_at_once_lose_each_lease_once(
    *, database: Database, settings: Settings, recorder: Recorder, publisher: Publisher
):
    job_ids = rows.submit(database, *[SPEC] * 20)
    for job_id in job_ids:
        crash(recorder, job_id)

    repairs = at_once(*[each.reconcile for each in reconcilers(settings)])

    assert sum(each.lost for each in repairs) == 20
    assert [rows.job(database, job_id).crashes for job_id in job_ids] == [1] * 20
    for job_id in job_ids:
        assert [line for line in rows.log(database, job_id) if line.startswith("lost")] == [
            "lost: cpu0-1@here fell silent"
        ]


def test_a_reconciler_and_a_renewal_at_once_agree_on_who_has_the_job(
    *, database: Database, settings: Settings, recorder: Recorder, publisher: Publisher
):
    job_ids = rows.submit(database, *[SPEC] * 20)
    claims = [rows.claim(recorder, job_id) for job_id in job_ids]
    for job_id in job_ids:
        rows.expire(database, job_id)
    (reconciler,) = reconcilers(settings, 1)

    at_once(
        reconciler.reconcile,
        lambda: [recorder.renew({claim: AttemptUpdate()}) for claim in claims],
    )

    for job_id in job_ids:
        job, (attempt,) = rows.job(database, job_id), rows.attempts(database, job_id)
        assert (job.state, attempt.outcome) in {("running", None), ("queued", Outcome.LOST)}
