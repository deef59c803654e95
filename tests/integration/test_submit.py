import os
import signal
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from integration import rows
from integration.conftest import LostAnswer
from integration.messages import waiting, waiting_jobs
from integration.rows import SPEC, FakeBroker
from models.clock import now
from models.database import Database
from models.errors import BrokerUnreachable
from models.message import JobMessage, Priority
from models.tables import Job, Sweep
from servers import PostgresServer, RedisServer, wait_until
from service import jobs
from service.jobs import SubmitOptions
from service.jobs.batches import BatchSize
from service.jobs.broker import Broker
from service.jobs.submission import SubmitProgress
from worker.queue.publishing import Publisher
from worker.supervisor.reconciler import Reconciler, Repairs

OPTIONS = SubmitOptions()


class Witness(FakeBroker):
    """A broker that looks, over a connection of its own, at what is committed when it publishes."""

    def __init__(self, database: Database) -> None:
        super().__init__()
        self.database = Database(database.url.render_as_string(hide_password=False))
        self.seen: list[int] = []

    def publish(self, messages: list[JobMessage]) -> None:
        with self.database.reading() as session:
            self.seen += session.scalars(select(Job.id).order_by(Job.id))
        self.database.engine.dispose()


def count(database: Database, table: type) -> int:
    with database.reading() as session:
        return session.scalars(select(func.count()).select_from(table)).one()


def test_the_rows_are_committed_before_the_first_message_is_sent(database: Database):
    witness = Witness(database)

    submitted = jobs.submit(database, witness, [SPEC, SPEC], OPTIONS, "token")

    assert tuple(witness.seen) == submitted.job_ids


def test_a_job_is_queued_with_the_options_of_its_submit(database: Database):
    options = SubmitOptions(
        name="first",
        priority=Priority.HIGH,
        max_crashes=5,
        stall_seconds=60.5,
        timeout_seconds=3600,
        keep_checkpoint=True,
    )

    submitted = jobs.submit(database, FakeBroker(), [SPEC], options, "token")

    job = rows.job(database, submitted.job_ids[0])
    assert (job.state, job.attempt, job.epochs_done, job.crashes) == ("queued", 0, 0, 0)
    assert (job.name, job.priority, job.max_crashes) == ("first", Priority.HIGH, 5)
    assert (job.stall_seconds, job.timeout_seconds, job.keep_checkpoint) == (60.5, 3600, True)
    assert (job.spec, job.configuration) == (SPEC.model_dump(mode="json"), SPEC.configuration)
    assert abs((datetime.now(UTC) - job.created_at).total_seconds()) < 5
    assert rows.get(database, Sweep, submitted.sweep_id).name == "first"


def test_a_full_redis_takes_no_messages_and_is_quoted(
    database: Database, broker: Broker, redis: RedisServer
):
    redis.client().config_set("maxmemory", 1)

    submitted = jobs.submit(database, broker, [SPEC], OPTIONS, "token")

    said = "refuses: OOM command not allowed when used memory > 'maxmemory'"
    assert submitted.publish_error == f"Redis at {redis.url} {said}"
    assert rows.states(database, submitted.job_ids) == ["queued"]


def test_without_redis_the_jobs_are_saved_and_submit_says_so_soon(
    database: Database, broker: Broker, redis: RedisServer
):
    redis.stop()
    began = time.monotonic()

    submitted = jobs.submit(database, broker, [SPEC, SPEC], OPTIONS, "token")

    assert time.monotonic() - began < 3
    assert submitted.publish_error
    assert submitted.publish_error.startswith(f"Redis at {redis.url} does not answer: ")
    assert rows.states(database, submitted.job_ids) == ["queued", "queued"]


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_a_redis_that_hangs_does_not_make_submit_hang(
    database: Database, broker: Broker, redis: RedisServer
):
    assert redis.process
    os.kill(redis.process.pid, signal.SIGSTOP)
    began = time.monotonic()

    try:
        submitted = jobs.submit(database, broker, [SPEC], OPTIONS, "token")
    finally:
        os.kill(redis.process.pid, signal.SIGCONT)

    assert time.monotonic() - began < 10
    assert submitted.publish_error
    assert rows.states(database, submitted.job_ids) == ["queued"]


def test_once_redis_refused_a_batch_submit_sends_no_other_and_counts_none_as_sent(
    database: Database, monkeypatch: pytest.MonkeyPatch
):
    class Refusing(FakeBroker):
        def publish(self, messages: Sequence[JobMessage]) -> None:
            tries.append(len(messages))
            raise BrokerUnreachable("Redis refuses")

    monkeypatch.setattr("service.jobs.submission.BatchSize", lambda: BatchSize(first=1))
    tries: list[int] = []
    seen: list[SubmitProgress] = []

    jobs.submit(database, Refusing(), [SPEC] * 3, OPTIONS, "token", on_progress=seen.append)

    assert tries == [1]
    assert [(each.saved, each.sent) for each in seen] == [(1, 0), (1, 0), (3, 0), (3, 0)]


def test_what_submit_could_not_send_is_sent_by_a_worker_once_redis_answers(
    database: Database, broker: Broker, redis: RedisServer, publisher: Publisher
):
    redis.stop()
    submitted = jobs.submit(database, broker, [SPEC, SPEC], OPTIONS, "token")
    redis.start()
    rows.add_worker(database, "idle@here")

    repairs = Reconciler(database, publisher, 30).reconcile()

    assert repairs == Repairs(republished=1)
    assert waiting_jobs(redis) == [submitted.job_ids[0]], "the worker goes on without a message"


def test_a_second_submit_with_the_same_token_inserts_nothing(database: Database):
    options = SubmitOptions(tags=("paper",))
    first = jobs.submit(database, FakeBroker(), [SPEC, SPEC], options, "token")

    second = jobs.submit(database, FakeBroker(), [SPEC, SPEC], options, "token")

    assert second == first
    assert (count(database, Sweep), count(database, Job)) == (1, 2)
    assert rows.tags(database, first.job_ids[0]) == ["paper"]


def test_a_commit_whose_answer_was_lost_inserts_once(
    database: Database, losing_an_answer: LostAnswer
):
    broker = FakeBroker()

    with losing_an_answer():
        submitted = jobs.submit(database, broker, [SPEC, SPEC], OPTIONS, "token")

    assert (count(database, Sweep), count(database, Job)) == (1, 2)
    assert tuple(message.job_id for message in broker.published) == submitted.job_ids


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
def test_a_repeated_submit_waits_for_its_own_unfinished_commit_and_inserts_once(
    database: Database, postgres: PostgresServer
):
    """As when the connection is lost during COMMIT, and the client is faster than the server."""
    again: list[jobs.Submitted] = []

    def submit_again() -> None:
        again.append(jobs.submit(database, FakeBroker(), [SPEC, SPEC], OPTIONS, "token"))

    repeating = threading.Thread(target=submit_again)
    with database.writing() as session:
        first = insert_sweep(session, "token")
        repeating.start()
        wait_until(lambda: is_blocked(postgres), "the second submit waits for the first")
    repeating.join(60)

    assert [submitted.sweep_id for submitted in again] == [first]
    assert (count(database, Sweep), count(database, Job)) == (1, 2)


def insert_sweep(session: Session, token: str) -> int:
    """Insert all that a submit of two specs does."""
    sweep = Sweep(submit_token=token, created_at=now())
    session.add(sweep)
    session.flush()
    for ordinal in range(2):
        row = {"spec": SPEC.model_dump(mode="json"), "configuration": SPEC.configuration}
        common = {"shape": SPEC.shape, "state": "queued", **OPTIONS.columns}
        session.add(Job(sweep_id=sweep.id, ordinal=ordinal, created_at=now(), **row, **common))
    session.flush()
    return sweep.id


def is_blocked(postgres: PostgresServer) -> bool:
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    return postgres.execute(waiting) != [(0,)]


def test_two_thousand_jobs_are_one_submit(database: Database, broker: Broker, redis: RedisServer):
    specs = [SPEC.model_copy(update={"seed": seed}) for seed in range(2_000)]

    submitted = jobs.submit(database, broker, specs, SubmitOptions(tags=("big", "wide")), "token")

    with database.reading() as session:
        found = session.execute(select(Job.ordinal, Job.spec).order_by(Job.id)).all()
    assert submitted.publish_error is None
    assert [(ordinal, spec["seed"]) for ordinal, spec in found] == [(i, i) for i in range(2_000)]
    assert tuple(waiting_jobs(redis)) == submitted.job_ids


def test_the_jobs_of_a_sweep_get_each_tag_once(database: Database):
    submitted = jobs.submit(
        database, FakeBroker(), [SPEC, SPEC], SubmitOptions(tags=("b", "a", "b")), "token"
    )

    assert [sorted(rows.tags(database, id_)) for id_ in submitted.job_ids] == [["a", "b"]] * 2


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_a_message_is_json_that_people_can_read(
    database: Database, broker: Broker, redis: RedisServer
):
    spec = rows.spec(keep=(0.9,), seed=4)

    submitted = jobs.submit(database, broker, [spec], OPTIONS, "token")

    (message,) = waiting(redis)
    assert message["content_type"] == "application/json"
    assert message["task"] == "dq.run_job"
    assert message["kwargs"] == {
        "job_id": submitted.job_ids[0],
        "spec": spec.model_dump(mode="json"),
    }
    assert message["args"] == []
    assert "'hidden': [16]" in message["readable"]
