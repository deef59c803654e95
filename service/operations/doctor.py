"""Checks of everything a job needs, each with what to do about it."""

import os
import shutil
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from redis import Redis
from redis.exceptions import RedisError, ResponseError

from models.database import Database
from models.datasets import DATASETS
from models.embedded_redis import EmbeddedRedis, find_server
from models.errors import DatabaseUnreachable, DqError
from models.redis_errors import explain_redis_error
from models.settings import Settings
from models.tables import REVISION
from models.urls import for_redis_py
from service.formatting import format_gib
from service.operations.schema import USE_UTF8
from service.operations.worker_program import ask
from service.queries.rows import WorkerRow
from service.queries.workers import list_workers

State = Literal["ok", "note", "fail"]


@dataclass(frozen=True)
class Check:
    """What was found, and what to do about it; with a "note" all works."""

    name: str
    state: State
    found: str
    fix: str | None = None


CheckFunction = Callable[[Settings], Check]
_FIXES = {
    "database": "start it, or correct DQ_DATABASE_URL or DQ_DATABASE_PASSWORD_FILE",
    "redis": "start it, or correct DQ_BROKER_URL or DQ_BROKER_PASSWORD_FILE",
    "workers": "see database",
    "worker_here": "see database",
}
#: The checkpoints of the notebook's network take 1 GiB while they are written.
_LEAST_FREE_BYTES = 2 * 2**30


def check_all() -> list[Check]:
    """Check everything, also after a check that fails."""
    return _run_checks(
        _check_database,
        _check_redis,
        _check_torch,
        _check_data,
        _check_checkpoints,
        _check_workers,
    )


def check_readiness() -> list[Check]:
    """Check what a command or a worker needs to start: the settings, the database and Redis."""
    return _run_checks(_check_database, _check_redis)


def check_liveness() -> list[Check]:
    """Check that a worker of this host has a recent heartbeat."""
    return _run_checks(_check_worker_here)


def _run_checks(*checks: CheckFunction) -> list[Check]:
    try:
        settings = Settings.load()
    except DqError as error:
        return [Check("settings", "fail", str(error), "unset it, or give it a value of its kind")]
    done = [_run_check(check, settings) for check in checks]
    return [Check("settings", "ok", f"DQ_HOME={settings.home}"), *done]


def _run_check(check: CheckFunction, settings: Settings) -> Check:
    name = check.__name__.removeprefix("_check_")
    try:
        return check(settings)
    except DatabaseUnreachable as error:
        return Check(name, "fail", error.found, _fix(error, name))
    except DqError as error:
        found = str(error).removesuffix(" Type: dq doctor")
        return Check(name, "fail", found, _FIXES.get(name, "do as it says"))
    # Whatever goes wrong in one check, the others must run.
    except Exception as error:  # noqa: BLE001
        words = " ".join(f"{type(error).__name__}: {error}".split())
        return Check(name, "fail", f"this check failed: {words:.300}", _FIXES.get(name))


def _fix(error: DatabaseUnreachable, name: str) -> str:
    """Return what fixes it; of several checks that need the database, its own says so."""
    if name != "database":
        return "see database"
    return _FIXES[name] if error.fix == "Type: dq doctor" else error.fix


def _check_database(settings: Settings) -> Check:
    database = Database(settings.sql_url)
    revision, is_compatible = database.revision(), database.is_compatible()
    found = f"{database.name} at revision {revision or 'none'}"
    if revision and revision > REVISION:
        state: State = "note" if is_compatible else "fail"
        return Check("database", state, f"{found}, a newer dq's", "install the dq that made it")
    if is_compatible:
        database.check_writable()
        if (encoding := database.encoding) != "UTF8":
            return Check("database", "note", f"{found}, keeps text as {encoding}", USE_UTF8)
        return Check("database", "ok", found)
    if settings.is_database_embedded:
        return Check("database", "ok", f"{database.name}, made at the first submit")
    return Check("database", "fail", found, "dq db upgrade")


def _check_redis(settings: Settings) -> Check:
    if settings.is_broker_embedded:
        running = EmbeddedRedis(settings.home).is_running()
        how = "running" if running else "started when needed"
        return Check("redis", "ok", f"embedded, {how} ({find_server()})")
    try:
        url = for_redis_py(settings.redis_url)
        with Redis.from_url(url, socket_timeout=3, socket_connect_timeout=3) as redis:
            redis.set("dq:doctor", "may write", ex=1)
            return _check_persistence(redis)
    except (RedisError, OSError, ValueError) as error:
        is_refusal = isinstance(error, ResponseError)
        fix = "put that right on the side of Redis" if is_refusal else _FIXES["redis"]
        return Check("redis", "fail", str(explain_redis_error(error)), fix)


def _check_persistence(redis: Redis) -> Check:
    try:
        info: Any = redis.info()
    except ResponseError:  # many managed services do not allow INFO
        found = "Redis takes messages; without the right to INFO, whether it keeps them is unknown"
        return Check("redis", "note", found, "see in its settings that it has appendonly yes")
    found = f"Redis {info['redis_version']}"
    if not info.get("aof_enabled"):
        fix = "redis-cli config set appendonly yes"
        return Check("redis", "note", f"{found} keeps its queue in memory only", fix)
    if info.get("maxmemory_policy", "noeviction") != "noeviction":
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
    """Check every data set whose folder is there, and MNIST, which jobs use by default."""
    present = [name for name in DATASETS if (settings.data_dir / name).is_dir()]
    names = dict.fromkeys(["mnist", *present])
    try:
        worst = {name: _find_worst(ask(["verify", name])) for name in names}
    except DqError as error:
        return Check("data", "note", str(error), "needed only where jobs are to run")
    listed = ", ".join(f"{name} {_DATA_STATES[state]}" for name, state in worst.items())
    found = f"{listed} in {settings.data_dir}"
    if set(worst.values()) == {"ok"}:
        return Check("data", "ok", found)
    fetch = "; ".join(f"dq data fetch {name}" for name, state in worst.items() if state != "ok")
    is_missing = set(worst.values()) <= {"ok", "missing"}
    return Check("data", "note" if is_missing else "fail", found, f"{fetch}, or set DQ_DATA_DIR")


#: What the files of a data set may be, the worst first.
_DATA_STATES = {
    "unreadable": "cannot be read",
    "corrupt": "is damaged",
    "missing": "is not complete",
    "ok": "is complete",
}


def _find_worst(files: Sequence[dict[str, str]]) -> str:
    states = {file["state"] for file in files}
    return next((state for state in _DATA_STATES if state in states), "ok")


def _check_checkpoints(settings: Settings) -> Check:
    folder = settings.checkpoints
    existing = next(each for each in (folder, *folder.parents) if each.exists())
    if not os.access(existing, os.W_OK | os.X_OK):
        fix = f"give this user the right to write there, or set DQ_CHECKPOINT_DIR: chown {existing}"
        return Check("checkpoints", "fail", f"{existing} may not be written", fix)
    free = shutil.disk_usage(existing).free
    found = f"{folder}, {format_gib(free)} free"
    if free < _LEAST_FREE_BYTES:
        return Check("checkpoints", "note", found, "free some space, or set DQ_CHECKPOINT_DIR")
    return Check("checkpoints", "ok", found)


def _check_worker_here(settings: Settings) -> Check:
    host = socket.gethostname()
    here = [worker.worker for worker in _list_alive(settings) if worker.host == host]
    if not here:
        return Check("worker_here", "fail", f"none is alive on {host}", "dq worker")
    return Check("worker_here", "ok", ", ".join(here))


def _check_workers(settings: Settings) -> Check:
    alive = [worker.worker for worker in _list_alive(settings)]
    if not alive:
        return Check("workers", "note", "none is running", "dq worker")
    return Check("workers", "ok", ", ".join(alive))


def _list_alive(settings: Settings) -> list[WorkerRow]:
    database = Database(settings.sql_url)
    workers = list_workers(database) if database.is_compatible() else []
    return [worker for worker in workers if worker.is_alive]
