"""Checks of everything a job needs, each with what to do about it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from redis import Redis
from redis.exceptions import RedisError

from models.database import Database
from models.embedded_redis import EmbeddedRedis, find_server
from models.errors import DqError
from models.settings import Settings
from models.tables import REVISION
from service.queries import list_workers
from service.worker_program import ask


@dataclass(frozen=True)
class Check:
    """One thing looked at; a "note" stops nothing from working."""

    name: str
    state: Literal["ok", "note", "fail"]
    found: str
    fix: str | None = None


def examine() -> list[Check]:
    """Check everything; a check that fails keeps none from being made."""
    try:
        settings = Settings.load()
    except DqError as error:
        return [Check("settings", "fail", str(error), "unset it, or give it a value of its kind")]
    return [Check("settings", "ok", f"DQ_HOME={settings.home}"), *_examine(settings)]


def _examine(settings: Settings) -> Iterator[Check]:
    for look in (_check_database, _check_redis, _check_torch, _check_data, _check_workers):
        yield _guard(look, settings)


def _guard(look: Callable[[Settings], Check], settings: Settings) -> Check:
    name = look.__name__.removeprefix("_check_")
    try:
        return look(settings)
    except DqError as error:
        return Check(name, "fail", str(error), "do as it says, then type dq doctor again")


def _check_database(settings: Settings) -> Check:
    database = Database(settings.sql_url)
    revision = database.revision()
    if revision == REVISION:
        return Check("database", "ok", f"{database.name} at revision {revision}")
    if settings.is_database_embedded:
        return Check("database", "ok", f"{database.name}, made at the first submit")
    return Check("database", "fail", f"{database.name} at {revision or 'none'}", "dq db upgrade")


def _check_redis(settings: Settings) -> Check:
    if settings.is_broker_embedded:
        running = EmbeddedRedis(settings.home).is_running()
        how = "running" if running else "started when needed"
        return Check("redis", "ok", f"embedded, {how} ({find_server()})")
    try:
        with Redis.from_url(settings.broker_url, socket_timeout=3, socket_connect_timeout=3) as it:
            return _judge_redis(it.info(), it.config_get("maxmemory-policy"))
    except (RedisError, OSError, ValueError) as error:
        return Check("redis", "fail", str(error), "start it, or correct DQ_BROKER_URL")


def _judge_redis(info: Any, policy: Any) -> Check:
    found = f"Redis {info['redis_version']}"
    if not info.get("aof_enabled"):
        fix = "redis-cli config set appendonly yes"
        return Check("redis", "note", f"{found} keeps its queue in memory only", fix)
    if policy.get("maxmemory-policy", "noeviction") != "noeviction":
        fix = "redis-cli config set maxmemory-policy noeviction"
        return Check("redis", "note", f"{found} may drop messages when full", fix)
    return Check("redis", "ok", found)


def _check_torch(_: Settings) -> Check:
    try:
        found = ask(["describe"])
    except DqError as error:
        return Check("torch", "note", str(error), "needed only where jobs are to run")
    device = ", ".join(found["gpus"]) or f"no GPU; CPU {found['cpu']}"
    return Check("torch", "ok", f"torch {found['torch']}: {device}")


def _check_data(settings: Settings) -> Check:
    try:
        files = ask(["verify", "mnist"])
    except DqError as error:
        return Check("data", "note", str(error), "needed only where jobs are to run")
    wrong = [file["name"] for file in files if file["state"] != "ok"]
    if wrong:
        found = f"mnist is not complete in {settings.data_dir}"
        return Check("data", "note", found, "dq data fetch mnist, or set DQ_DATA_DIR")
    return Check("data", "ok", f"mnist in {settings.data_dir}")


def _check_workers(settings: Settings) -> Check:
    database = Database(settings.sql_url)
    alive = []
    if database.revision() == REVISION:
        alive = [worker.worker for worker in list_workers(database) if worker.is_alive]
    if not alive:
        return Check("workers", "note", "none is running", "dq worker")
    return Check("workers", "ok", ", ".join(alive))
