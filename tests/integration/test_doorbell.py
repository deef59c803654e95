from collections.abc import Iterator

import pytest

from integration.messages import waiting_jobs
from models.errors import BrokerUnreachable
from models.message import Bell, Priority
from models.settings import Settings
from servers import RedisServer
from worker.app import make_doorbell
from worker.doorbell import Doorbell


@pytest.fixture
def settings(redis: RedisServer) -> Settings:
    return Settings(broker_url=redis.url)


@pytest.fixture
def doorbell(settings: Settings) -> Doorbell:
    return make_doorbell(settings)


def test_a_bell_is_a_message_in_the_queue(doorbell: Doorbell, redis: RedisServer):
    doorbell.ring([Bell(1, {"lr": 0.1}), Bell(2, {"lr": 0.2})])

    assert waiting_jobs(redis) == [1, 2]


def test_the_first_of_many_messages_are_there_while_the_last_are_made(
    doorbell: Doorbell, redis: RedisServer
):
    seen = []

    def make() -> Iterator[Bell]:
        for number in range(1, 202):
            yield Bell(number, {})
        seen.extend(waiting_jobs(redis))

    doorbell.ring(make())

    assert seen == list(range(1, 201))
    assert waiting_jobs(redis) == list(range(1, 202))


def test_a_queue_that_nobody_used_yet_is_empty(doorbell: Doorbell):
    assert doorbell.count() == 0


@pytest.mark.parametrize("priority", Priority)
def test_a_message_of_any_priority_counts(doorbell: Doorbell, priority: Priority):
    doorbell.ring([Bell(1, {}, priority)])

    assert doorbell.count() == 1


def test_a_queue_whose_messages_were_all_taken_is_empty(doorbell: Doorbell, redis: RedisServer):
    doorbell.ring([Bell(1, {})])
    redis.client().delete("dq:dq\x06\x163")

    assert doorbell.count() == 0


def test_a_new_redis_has_forgotten(doorbell: Doorbell):
    assert doorbell.forgets()


def test_a_redis_that_runs_on_remembers_for_every_worker(doorbell: Doorbell, settings: Settings):
    doorbell.remember()

    assert not doorbell.forgets()
    assert not make_doorbell(settings).forgets()


def test_a_wiped_redis_has_forgotten(doorbell: Doorbell, redis: RedisServer):
    doorbell.remember()

    redis.client().flushall()

    assert doorbell.forgets()


def test_a_restarted_redis_counts_as_one_that_has_forgotten_even_if_it_kept_its_data(
    doorbell: Doorbell, redis: RedisServer
):
    """Its last second of messages may be lost, whatever else its append-only file holds."""
    doorbell.remember()
    marker = redis.client().get("dq:rung-in")

    redis.stop()
    redis.start()
    redis.client().set("dq:rung-in", marker)

    assert doorbell.forgets()


@pytest.mark.parametrize(
    "use",
    [
        lambda doorbell: doorbell.ring([Bell(1, {})]),
        lambda doorbell: doorbell.forgets(),
        lambda doorbell: doorbell.remember(),
    ],
    ids=["ring", "forgets", "remember"],
)
def test_a_redis_that_does_not_answer_is_an_unreachable_broker(
    doorbell: Doorbell, redis: RedisServer, use
):
    redis.stop()

    with pytest.raises(BrokerUnreachable, match="Redis does not answer"):
        use(doorbell)


def test_a_redis_that_may_not_be_asked_for_its_run_id_remembers_until_it_is_wiped(
    redis: RedisServer,
):
    doorbell = make_doorbell(Settings(broker_url=redis.url_without_dangerous()))
    is_new = doorbell.forgets()
    doorbell.remember()
    is_known = not doorbell.forgets()

    redis.client().flushall()

    assert (is_new, is_known, doorbell.forgets()) == (True, True, True)


def test_whoever_may_not_ask_for_the_run_id_and_who_may_agree_on_a_redis_that_runs_on(
    doorbell: Doorbell, redis: RedisServer
):
    other = make_doorbell(Settings(broker_url=redis.url_without_dangerous()))

    doorbell.remember()
    knows_ours = not other.forgets()
    doorbell.remember()

    assert knows_ours
    assert not doorbell.forgets()


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("min-replicas-to-write", 1, "NOREPLICAS Not enough good replicas to write"),
        ("maxmemory", 1, "OOM command not allowed when used memory > 'maxmemory'"),
    ],
)
def test_what_redis_refuses_is_said_in_its_own_words(
    doorbell: Doorbell, redis: RedisServer, setting: str, value: int, words: str
):
    redis.client().config_set(setting, value)

    with pytest.raises(BrokerUnreachable) as refusal:
        doorbell.ring([Bell(1, {})])

    assert str(refusal.value) == f"Redis refuses: {words}"
