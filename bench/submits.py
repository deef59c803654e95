"""Times the submitting of 10,000 specs to a PostgreSQL and a Redis that both write to disk."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from sqlalchemy import insert, literal, select, update

from bench.filling import draw_specs
from bench.section import TIME_COLUMNS, Section, show, time_once, time_row
from bench.servers import open_postgres, open_redis
from models.database import Database
from models.metrics import METRICS
from models.settings import Settings
from models.spec import TRAINER_VERSION, ExperimentSpec
from models.state import JobState
from models.tables import Job, Result
from service.jobs import SubmitOptions, Submitted, submit
from service.jobs.broker import Broker
from tests.servers import RedisServer

#: Seconds.
_TARGET = 15.0
_TIMES = 3
_SEEDS = 5


def measure(number: int) -> Section:
    """Submit new specs, and then specs that are all known."""
    about = (
        f"{number:,} specs by `service.jobs.submit` to a stock PostgreSQL (fsync on) and "
        f"a Redis with appendonly: rows, commit, and a message a job. The median of {_TIMES}."
    )
    with open_redis() as redis, open_postgres() as (_, stock):
        settings = Settings(database_url=stock.database_url, broker_url=redis.url)
        rows = show(_measure_all(settings, redis, number))
    return Section("Submits", about, ["what is submitted", *TIME_COLUMNS], rows)


def _measure_all(settings: Settings, redis: RedisServer, number: int) -> Iterator[list[str]]:
    specs = list(_make_specs(number))
    with _open(settings) as (database, broker):

        def again(**order: object) -> Submitted:
            return submit(database, broker, specs, SubmitOptions(**order), uuid4().hex)  # type: ignore[arg-type]

        new = _time(lambda: _check(again(), created=number))
        assert _count_messages(redis) == _TIMES * number
        yield time_row(f"{number:,} new specs", new, _TARGET, "s")
        tagged = _time(lambda: _check(again(tags=("paper", "old")), created=number))
        yield time_row(f"{number:,} new specs with two tags each", tagged, _TARGET, "s")
        joined = _time(lambda: _check(again(reuse=True), open_before=number))
        yield time_row(f"`reuse=True`, all {number:,} queued before", joined, _TARGET, "s")
        _finish(database)
        reused = _time(lambda: _check(again(reuse=True), finished_before=number))
        yield time_row(f"`reuse=True`, all {number:,} finished before", reused, _TARGET, "s")
        what, seconds = _time_command(settings, number)
        yield time_row(what, seconds, _TARGET, "s")


def _make_specs(number: int) -> Iterator[ExperimentSpec]:
    for spec in draw_specs(number // _SEEDS):
        yield from (spec.model_copy(update={"seed": seed}) for seed in range(_SEEDS))


@contextmanager
def _open(settings: Settings) -> Iterator[tuple[Database, Broker]]:
    database = Database(settings.sql_url)
    yield database, Broker(settings)
    database.engine.dispose()


def _time(call: Callable[[], object]) -> list[float]:
    return [time_once(call) for _ in range(_TIMES)]


def _check(submitted: Submitted, **expected: int) -> None:
    """Assert that a submit did all it is timed for."""
    assert submitted.publish_error is None, submitted.publish_error
    for name in ("created", "open_before", "finished_before"):
        assert len(getattr(submitted, name)) == expected.get(name, 0), name


def _count_messages(redis: RedisServer) -> int:
    with redis.client() as client:
        lists = [key for key in client.scan_iter("dq:*") if client.type(key) == b"list"]
        return sum(client.llen(key) for key in lists)


def _finish(database: Database) -> None:
    """Have all jobs succeed."""
    metrics = [literal(0.5).label(name) for name in METRICS]
    results = select(Job.id, literal(1), literal(TRAINER_VERSION), *metrics)
    columns = ["job_id", "attempt", "trainer_version", *METRICS]
    with database.writing() as session:
        session.execute(update(Job).values(state=JobState.SUCCEEDED, attempt=1))
        session.execute(insert(Result).from_select(columns, results))


def _time_command(settings: Settings, number: int) -> tuple[str, list[float]]:
    """Time the command a person types, start-up and all."""
    words = ["submit", "--dataset", "digits", "--hidden", "64x3", "--batch-size", "100", "--force"]
    words += [word for lr in range(1, 11) for word in ("--lr", f"0.{lr:02}")]
    words += ["--seeds", str(number // 10), "--json"]
    environment = os.environ | {
        "DQ_DATABASE_URL": settings.database_url,
        "DQ_BROKER_URL": settings.broker_url,
    }
    command = [str(Path(sys.executable).with_name("dq")), *words]

    def run() -> None:
        subprocess.run(command, check=True, env=environment, capture_output=True)

    return f"`dq submit --lr ... --seeds {number // 10} --force`, the process", _time(run)
