from collections.abc import Iterator
from unittest.mock import Mock

import pytest

from integration.messages import waiting_jobs
from models.errors import BrokerUnreachable
from models.message import JobMessage
from models.settings import Settings
from servers import RedisServer
from worker.queue.app import make_publisher
from worker.queue.publishing import Publisher


@pytest.fixture
def settings(redis: RedisServer) -> Settings:
    return Settings(broker_url=redis.url)


@pytest.fixture
def publisher(settings: Settings) -> Publisher:
    return make_publisher(settings)


def test_a_job_message_is_put_into_the_queue(publisher: Publisher, redis: RedisServer):
    publisher.publish([JobMessage(1, {"lr": 0.1}), JobMessage(2, {"lr": 0.2})])

    assert waiting_jobs(redis) == [1, 2]


def test_the_first_of_many_messages_are_there_while_the_last_are_made(
    publisher: Publisher, redis: RedisServer
):
    seen = []

    def make() -> Iterator[JobMessage]:
        for number in range(1, 202):
            yield JobMessage(number, {})
        seen.extend(waiting_jobs(redis))

    publisher.publish(make())

    assert seen == list(range(1, 201))
    assert waiting_jobs(redis) == list(range(1, 202))


def test_a_queue_that_nobody_used_yet_is_empty(publisher: Publisher):
    assert publisher.count_waiting() == 0


def test_a_message_counts(publisher: Publisher):
    publisher.publish([JobMessage(1, {})])

    assert publisher.count_waiting() == 1


def test_a_queue_whose_messages_were_all_taken_is_empty(publisher: Publisher, redis: RedisServer):
    publisher.publish([JobMessage(1, {})])
    redis.client().delete("dq:dq")

    assert publisher.count_waiting() == 0


def test_a_new_redis_has_forgotten(publisher: Publisher):
    assert publisher.may_have_lost_messages()


def test_a_redis_that_runs_on_remembers_for_every_worker(publisher: Publisher, settings: Settings):
    publisher.mark_complete()

    assert not publisher.may_have_lost_messages()
    assert not make_publisher(settings).may_have_lost_messages()


def test_a_wiped_redis_has_forgotten(publisher: Publisher, redis: RedisServer):
    publisher.mark_complete()

    redis.client().flushall()

    assert publisher.may_have_lost_messages()


def test_a_restarted_redis_counts_as_one_that_has_forgotten_even_if_it_kept_its_data(
    publisher: Publisher, redis: RedisServer
):
    """Its last second of messages may be lost, whatever else its append-only file holds."""
    publisher.mark_complete()
    marker = redis.client().get("dq:published-in")

    redis.stop()
    redis.start()
    redis.client().set("dq:published-in", marker)

    assert publisher.may_have_lost_messages()


@pytest.mark.parametrize(
    "use",
    [
        lambda publisher: publisher.publish([JobMessage(1, {})]),
        lambda publisher: publisher.may_have_lost_messages(),
        lambda publisher: publisher.mark_complete(),
    ],
    ids=["publish", "may_have_lost_messages", "mark_complete"],
)
def test_a_redis_that_does_not_answer_is_an_unreachable_broker(
    publisher: Publisher, redis: RedisServer, use
):
    redis.stop()

    with pytest.raises(BrokerUnreachable, match="Redis does not answer"):
        use(publisher)


def test_a_redis_that_may_not_be_asked_for_its_run_id_remembers_until_it_is_wiped(
    redis: RedisServer,
):
    publisher = make_publisher(Settings(broker_url=redis.url_without_dangerous()))
    is_new = publisher.may_have_lost_messages()
    publisher.mark_complete()
    is_known = not publisher.may_have_lost_messages()

    redis.client().flushall()

    assert (is_new, is_known, publisher.may_have_lost_messages()) == (True, True, True)


def test_a_worker_that_may_ask_for_the_run_id_and_one_that_may_not_agree_on_a_redis_that_runs_on(
    publisher: Publisher, redis: RedisServer
):
    other = make_publisher(Settings(broker_url=redis.url_without_dangerous()))

    publisher.mark_complete()
    knows_ours = not other.may_have_lost_messages()
    publisher.mark_complete()

    assert knows_ours
    assert not publisher.may_have_lost_messages()


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("min-replicas-to-write", 1, "NOREPLICAS Not enough good replicas to write"),
        ("maxmemory", 1, "OOM command not allowed when used memory > 'maxmemory'"),
    ],
)
def test_an_error_quotes_why_redis_refused(
    publisher: Publisher, redis: RedisServer, setting: str, value: int, words: str
):
    redis.client().config_set(setting, value)

    with pytest.raises(BrokerUnreachable) as refusal:
        publisher.publish([JobMessage(1, {})])

    assert str(refusal.value) == f"Redis refuses: {words}"


def test_an_error_of_the_operating_system_is_an_unreachable_broker(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(publisher._redis, "get", Mock(side_effect=OSError("no such device")))

    with pytest.raises(BrokerUnreachable, match="Redis does not answer: no such device"):
        publisher.may_have_lost_messages()
