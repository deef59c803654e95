"""Redis down, wiped and restarted, and what somebody else may put into it."""

import base64
import json
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from stage import ENDLESS, SHORT, Stage, open_stage

from chaos.faults import MALFORMED, STRANGE_ARGUMENTS
from integration import rows
from integration.messages import waiting
from models.message import TASK
from servers import RedisServer
from service import jobs
from worker.queue.app import make_app

SPEC_AS_JSON = SHORT.model_dump(mode="json")
NO_CALLBACKS = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """Its worker is up."""
    with open_stage() as stage:
        stage.wait_for_end(stage.submit_one(SHORT))
        yield stage


@contextmanager
def down(redis: RedisServer) -> Iterator[None]:
    redis.stop()
    try:
        yield
    finally:
        redis.start()


def wipe(redis: RedisServer) -> None:
    with redis.client() as client:
        client.flushall()


def crash(redis: RedisServer) -> None:
    with down(redis):
        pass


def message(kwargs: Any, args: Any = (), callbacks: Any = None, **headers: Any) -> bytes:
    """Return a message as it lies in Redis."""
    body = [args, kwargs, NO_CALLBACKS | {"callbacks": callbacks}]
    return envelope(body, {"lang": "py", "task": TASK, "id": uuid.uuid4().hex, **headers})


def old_message(kwargs: Any, **more: Any) -> bytes:
    """Return a message of the form that Celery had before its version 4, and still takes."""
    return envelope({"task": TASK, "id": "an id", "args": [], "kwargs": kwargs, **more}, {})


def envelope(body: Any, headers: dict[str, Any]) -> bytes:
    return json.dumps(
        {
            "body": base64.b64encode(json.dumps(body).encode()).decode(),
            "content-type": "application/json",
            "content-encoding": "utf-8",
            "headers": headers,
            "properties": {
                "delivery_info": {"exchange": "", "routing_key": "dq"},
                "delivery_tag": uuid.uuid4().hex,
                "body_encoding": "base64",
            },
        }
    ).encode()


def push(stage: Stage, items: Sequence[bytes]) -> int:
    """Push items raw into the queue; return how many lines say that one was dropped."""
    before = dropped(stage)
    last = uuid.uuid4().hex
    with stage.redis.client() as client:
        client.lpush("dq:dq", *items, message({"job_id": last}))
    stage.wait_for_log(last)
    return dropped(stage) - before - 1


def dropped(stage: Stage) -> int:
    return stage.logs().count(" dropped a")


def pids(stage: Stage) -> tuple[int, int]:
    return stage.worker.celery().pid, stage.worker.child().pid


def test_a_job_submitted_while_redis_is_down_runs_once_it_is_back(stage: Stage):
    with (
        stage.awaiting_log("Redis: works again"),
        down(stage.redis),
        stage.awaiting_log("Redis does not answer"),
    ):
        submitted = stage.submit_as(uuid.uuid4().hex, SHORT)
    states = stage.wait_for_end(*submitted.job_ids)

    assert submitted.publish_error
    assert states == ["succeeded"]
    assert stage.outcomes(*submitted.job_ids) == ["succeeded"]
    assert "dropped an item" not in stage.logs()  # a Redis that is gone is none


@pytest.mark.parametrize("strike", [wipe, crash])
def test_jobs_that_wait_in_redis_or_run_survive_its_loss(
    stage: Stage, strike: Callable[[RedisServer], None]
):
    running, *queued = stage.submit(ENDLESS, SHORT, SHORT, SHORT)
    stage.wait_for_start(running)

    strike(stage.redis)
    queued.append(stage.submit_one(SHORT))
    stage.cancel(running)
    states = stage.wait_for_end(*queued)
    stage.wait_until(lambda: not waiting(stage.redis), "all messages are taken")

    assert stage.outcomes(running) == ["cancelled"]
    assert states == ["succeeded"] * 4
    assert [stage.outcomes(job_id) for job_id in queued] == [["succeeded"]] * 4


def test_a_busy_worker_goes_from_job_to_job_without_redis(stage: Stage):
    running, *queued = stage.submit(ENDLESS, SHORT, SHORT)
    stage.wait_for_start(running)

    with down(stage.redis):
        stage.cancel(running)
        states = stage.wait_for_end(*queued)

    stage.wait_until(lambda: not waiting(stage.redis), "their messages are taken in vain")
    assert states == ["succeeded"] * 2


def test_a_worker_that_loses_redis_between_taking_a_message_and_saying_so_goes_on(stage: Stage):
    child = stage.worker.child()
    child.suspend()
    taken = stage.submit_one(SHORT)
    stage.wait_until(lambda: not waiting(stage.redis), "the message is taken")

    with stage.awaiting_log("Redis: works again"), down(stage.redis):
        child.resume()
        stage.wait_for_start(taken)
    states = stage.wait_for_end(taken, stage.submit_one(SHORT))

    assert states == ["succeeded", "succeeded"]


def test_the_message_of_a_job_is_sent_again_if_it_alone_is_lost(stage: Stage):
    job_id = rows.submit_one(stage.database)

    states = stage.wait_for_end(job_id)

    assert states == ["succeeded"]


def test_items_that_are_no_message_of_ours_are_dropped_with_one_line_each(stage: Stage):
    ended = stage.submit_one(SHORT)
    stage.wait_for_end(ended)
    jobs.pause(stage.database)
    waiting = rows.submit_one(stage.database)
    nameless, *strange = map(message, STRANGE_ARGUMENTS)
    items = [
        *MALFORMED,
        *strange,
        message({}, args=[waiting, SPEC_AS_JSON]),
        message({"job_id": waiting, "spec": SPEC_AS_JSON}, task="os.system"),
        message({"job_id": waiting, "spec": SPEC_AS_JSON}, compression="application/x-gzip"),
        message({"job_id": waiting, "spec": SPEC_AS_JSON}, compression="of another kind"),
    ]
    in_vain = [
        nameless,
        message({"job_id": ended, "spec": SPEC_AS_JSON}),
        message({"job_id": waiting, "spec": SPEC_AS_JSON | {"lr": 0.2}}),
    ]
    before = pids(stage), rows.everything(stage.database)["jobs"]

    lines = push(stage, [*items, *in_vain])
    after = pids(stage), rows.everything(stage.database)["jobs"]
    jobs.resume(stage.database, stage.broker)
    states = stage.wait_for_end(waiting, stage.submit_one(SHORT))

    assert lines == len(items) >= 15
    assert 'dropped a message: ValueError("it is no task of dq\'s")' in stage.logs()
    assert after == before
    assert states == ["succeeded", "succeeded"]


def test_what_celery_would_act_on_and_dq_does_not_send_is_of_no_effect(stage: Stage):
    ended = stage.submit_one(SHORT)
    stage.wait_for_end(ended)
    kwargs = {"job_id": ended, "spec": SPEC_AS_JSON}
    items = [
        message(kwargs, timelimit="abc"),
        message(kwargs, timelimit=[{"a": 1}, "x"]),
        message(kwargs, timelimit=[0.001, 0.001]),
        message(kwargs, shadow=[1]),
        message(kwargs, ignore_result="no"),
        message(kwargs, replaced_task_nesting="x"),
        message(kwargs, eta="2999-01-01T00:00:00+00:00"),
        message(kwargs, expires="2001-01-01T00:00:00+00:00"),
        message(kwargs, id=[1]),
        message(kwargs, callbacks=[{"task": "another"}]),
        message(kwargs, args=["another"]),
    ]
    foreign = [
        message([1]),
        message({}, task="celery.accumulate"),
        message({}, task="celery.accumulate", timelimit="abc"),
        message({}, task="celery.accumulate", timelimit=[{"a": 1}, "x"]),
        old_message(kwargs, timelimit="abc"),
    ]
    before = pids(stage)

    lines = push(stage, [*items, *foreign])
    lines_then = dropped(stage)
    states = stage.wait_for_end(stage.submit_one(SHORT))

    assert lines == len(foreign)
    assert dropped(stage) == lines_then  # no other message came of these
    assert pids(stage) == before
    assert states == ["succeeded"]


def test_a_worker_takes_no_orders_that_come_through_redis(stage: Stage):
    """Celery's own would have it shut down, revoke jobs, or tell of its settings."""
    assert make_app(stage.settings).control.ping(timeout=2) == []
