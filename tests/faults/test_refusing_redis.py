"""A Redis that refuses: some commands always, as a managed service does, or every write a while."""

import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from redis import Redis
from stage import ENDLESS, SHORT, Stage, open_stage

from chaos.stack import DurableRedis
from integration import rows
from servers import wait_until


class ModestRedis(DurableRedis):
    """A Redis whose URL names a user that may use no @dangerous command and no key but dq:*."""

    @property
    def url(self) -> str:
        return self.url_without_dangerous()


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with open_stage(server=ModestRedis) as stage:
        stage.wait_for_end(stage.submit_one(SHORT))
        yield stage


def test_jobs_whose_messages_are_lost_run_where_redis_allows_nothing_dangerous(stage: Stage):
    alone = rows.submit_one(stage.database)
    states = stage.wait_for_end(alone)
    running, *queued = stage.submit(ENDLESS, SHORT, SHORT)
    stage.wait_for_start(running)

    with stage.redis.client() as client:
        client.flushall()
        denied = {entry["object"] for entry in client.acl_log() if entry["reason"] != "channel"}
    stage.cancel(running)
    states += stage.wait_for_end(*queued)

    assert states == ["succeeded"] * 3
    assert denied <= {"info", "client"}  # client: redis-py tells its version, or not
    assert stage.dq("doctor", "--ready").returncode == 0
    assert "Redis takes messages; without the right to INFO" in stage.dq("doctor", "--ready").stdout


def want_replicas(client: Redis) -> None:
    client.config_set("min-replicas-to-write", 1)


def be_full(client: Redis) -> None:
    client.config_set("maxmemory", 1)


def fail_to_save(client: Redis) -> None:
    (Path(client.config_get("dir")["dir"]) / "no-file.rdb").mkdir()
    client.config_set("dbfilename", "no-file.rdb")
    client.config_set("save", "3600 1")
    client.bgsave()
    wait_until(lambda: client.info()["rdb_last_bgsave_status"] == "err", "it fails")


def follow_another(client: Redis) -> None:
    client.replicaof("127.0.0.1", "1")


def recover(client: Redis) -> None:
    client.replicaof("NO", "ONE")
    for name, value in {"min-replicas-to-write": 0, "maxmemory": 0, "save": ""}.items():
        client.config_set(name, value)


@pytest.mark.parametrize(
    ("strike", "seconds", "words"),
    [
        (want_replicas, 15, "NOREPLICAS"),
        (be_full, 3, "OOM"),
        (fail_to_save, 3, "MISCONF"),
        (follow_another, 3, "READONLY"),
    ],
)
def test_a_redis_that_refuses_writes_for_a_while_costs_no_job_and_few_lines(
    stage: Stage, strike: Callable[[Redis], None], seconds: float, words: str
):
    running, *queued = stage.submit(ENDLESS, SHORT, SHORT)
    stage.wait_for_start(running)
    before = stage.logs()

    with stage.redis.client() as client:
        strike(client)
        submitted = stage.submit_as(uuid.uuid4().hex, SHORT)
        stage.cancel(running)
        stage.wait_for_log(f"Redis refuses: {words} ")
        time.sleep(seconds)
        recover(client)
    states = stage.wait_for_end(*queued, *submitted.job_ids)

    said = stage.logs().removeprefix(before)
    assert submitted.publish_error
    assert f"refuses: {words} " in submitted.publish_error
    assert states == ["succeeded"] * 3
    assert "dropped an item" not in said
    assert "Traceback" not in said
    assert said.count("\n") < 100
