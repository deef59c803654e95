from collections.abc import Iterator

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


@pytest.mark.parametrize(
    "use",
    [
        lambda publisher: publisher.publish([JobMessage(1, {})]),
        lambda publisher: publisher.count_waiting(),
    ],
    ids=["publish", "count_waiting"],
)
def test_a_redis_that_does_not_answer_is_an_unreachable_broker(
    publisher: Publisher, redis: RedisServer, use
):
    redis.stop()

    with pytest.raises(BrokerUnreachable, match="Redis does not answer"):
        use(publisher)


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
