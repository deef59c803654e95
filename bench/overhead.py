"""Times what the queue itself costs: sending, waiting to be taken, and tasks that do nothing."""

import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from uuid import uuid4

from sqlalchemy import func, select

from bench import peer_tasks, peers
from bench.section import Section, judge
from bench.servers import open_postgres, open_redis
from models.database import Database
from models.settings import Settings
from models.spec import ExperimentSpec
from models.tables import Attempt, Job, Result
from service.jobs import SubmitOptions, submit
from service.jobs.broker import Broker
from service.operations.schema import upgrade
from tests.servers import RedisServer, short_folder, wait_until

_ROUNDS = 3
_WARM_UP = 20
_DISPATCHES = 60
_PATIENCE = 300.0
#: The smallest job that is trained together with others; with the bench's own worker it trains
#: nothing.
_SPEC = ExperimentSpec(dataset="digits", hidden=(16,), batch_size=100, epochs=1)
#: Of what bare Celery does.
_RATE_TARGET = 0.5
#: Seconds, for 95 % of the dispatches.
_DISPATCH_TARGET = 0.05
_Rates = tuple[float, float]  # tasks sent, and tasks done, a second


def measure(number: int) -> Section:
    """Send tasks that do nothing through dq and through each peer, in turn."""
    about = (
        f"{number:,} tasks that do nothing, sent one by one (dq: in one submit, since "
        f"that is how a sweep comes) to one worker process with one child that is up and idle; the "
        f"median of {_ROUNDS} rounds in which all take turns. The same Redis, with appendonly, for "
        "all; dq's rows in a stock PostgreSQL (fsync on) or in its own SQLite file. A second ends "
        "when the last task is done, for dq when the last result is in SQL. As it comes, dq's "
        "worker takes up to 16 jobs of one shape at a time, as these are, and records them "
        "together; with `--pack off` each is taken alone. They make no network and train nothing, "
        "but each has its own row, message, claim, epoch and result."
    )
    with open_redis() as redis, open_postgres() as (_, stock), short_folder("dq-bench-") as home:
        os.environ["BENCH_REDIS_URL"] = peer_tasks.URL = f"unix://{redis.socket}"
        systems = _systems(redis, stock.database_url, home)
        rates = {name: [] for name in systems}
        for _ in range(_ROUNDS):
            for name, run in systems.items():
                rates[name].append(run(number))
                print(name, *rates[name][-1], flush=True)
        waits = {
            name: _time_dispatches(each) for name, each in _dq(redis, stock.database_url, home)
        }
    rows = [*_rate_rows(rates), *_dispatch_rows(waits)]
    columns = ["what", "target", "median", "of Celery's", ""]
    return Section("Overhead", about, columns, rows)


def _systems(
    redis: RedisServer, database_url: str, home: Path
) -> Mapping[str, Callable[[int], _Rates]]:
    with_peers = {name: _time_peer(name, redis) for name in peers.PEERS}
    with_settings = _dq(redis, database_url, home, packs=("auto", "off"))
    with_dq = {name: _time_dq(settings) for name, settings in with_settings}
    return with_peers | with_dq


def _dq(
    redis: RedisServer, database_url: str, home: Path, packs: Sequence[str] = ("auto",)
) -> Iterator[tuple[str, Settings]]:
    databases = {"PostgreSQL": database_url, "SQLite": ""}
    for pack in packs:
        how = "" if pack == "auto" else ", each alone"
        for name, url in databases.items():
            settings = Settings(home=home, database_url=url, broker_url=redis.url, pack=pack)
            yield f"dq, {name}{how}", settings


def _time_peer(name: str, redis: RedisServer) -> Callable[[int], _Rates]:
    def run(number: int) -> _Rates:
        peer = peers.PEERS[name]()
        with redis.client() as client, _process(peers.command(peer), os.environ):
            _send_and_wait(peer.send, _WARM_UP, client)
            began = time.time()
            sent_at, done_at = _send_and_wait(peer.send, number, client)
        return number / (sent_at - began), number / (done_at - began)

    return run


def _send_and_wait(send: Callable[[int], None], number: int, client: object) -> tuple[float, float]:
    client.delete(peer_tasks.DONE)
    send(number - 1)
    sent_at = time.time()
    return sent_at, float(
        wait_until(lambda: client.get(peer_tasks.DONE), "all are done", _PATIENCE)
    )


def _time_dq(settings: Settings) -> Callable[[int], _Rates]:
    def run(number: int) -> _Rates:
        with _dq_worker(settings) as (database, broker):
            _submit_and_wait(database, broker, _WARM_UP)
            began = time.time()
            sent_at, done_at = _submit_and_wait(database, broker, number)
        return number / (sent_at - began), number / (done_at - began)

    return run


def _submit_and_wait(database: Database, broker: Broker, number: int) -> tuple[float, float]:
    specs = [_SPEC.model_copy(update={"seed": seed}) for seed in range(number)]
    first = min(submit(database, broker, specs, SubmitOptions(), uuid4().hex).created)
    sent_at = time.time()
    done = select(func.count()).select_from(Result).where(Result.job_id >= first)

    def all_done() -> bool:
        time.sleep(0.02)
        with database.reading() as session:
            return session.scalar(done) == number

    wait_until(all_done, "all results are there", _PATIENCE)
    return sent_at, time.time()


def _time_dispatches(settings: Settings) -> list[float]:
    """Return the seconds from a submit to its job's start, by the database's clock, sorted."""
    with _dq_worker(settings) as (database, broker):
        _submit_and_wait(database, broker, _WARM_UP)
        first, *_ = (_submit_and_look(database, broker) for _ in range(_DISPATCHES))
        waits = select(Job.created_at, Attempt.started_at).join(Attempt, Attempt.job_id == Job.id)
        with database.reading() as session:
            pairs = session.execute(waits.where(Job.id >= first)).all()
    return sorted((started - created).total_seconds() for created, started in pairs)


def _submit_and_look(database: Database, broker: Broker) -> int:
    """Submit one job to the idle worker; return its id."""
    submitted = submit(database, broker, [_SPEC], SubmitOptions(), uuid4().hex)
    time.sleep(0.25)
    return submitted.created[0]


@contextmanager
def _dq_worker(settings: Settings) -> Iterator[tuple[Database, Broker]]:
    """Run one Celery process of dq whose jobs train nothing."""
    upgrade(database := Database(settings.sql_url))
    environment = {**os.environ, "DQ_HOME": str(settings.home)}
    environment |= {"DQ_BROKER_URL": settings.broker_url, "DQ_PACK": settings.pack}
    environment["OMP_NUM_THREADS"] = "1"
    if settings.database_url:
        environment["DQ_DATABASE_URL"] = settings.database_url
    name = f"bench-{next(_numbers)}"
    with _process([sys.executable, "-m", "bench.noop", name], environment):
        yield database, Broker(settings)
    database.engine.dispose()


_numbers = count(1)


@contextmanager
def _process(command: Sequence[str], environment: Mapping[str, str]) -> Iterator[None]:
    """Run a worker in its own session, and end all of the session."""
    root = Path(__file__).parent.parent
    process = subprocess.Popen(
        command,
        cwd=root,
        env={**environment, "PYTHONPATH": str(root)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _rate_rows(rates: Mapping[str, Sequence[_Rates]]) -> Iterator[list[str]]:
    for index, what in enumerate(("sent a second", "done a second")):
        medians = {name: statistics.median(r[index] for r in each) for name, each in rates.items()}
        for name, median in medians.items():
            share = median / medians["Celery"]
            is_asked = index == 1 and name.startswith("dq") and not name.endswith("alone")
            verdict = judge(
                share >= _RATE_TARGET if is_asked else None, f"{_RATE_TARGET - share:.2f}"
            )
            target = f"{_RATE_TARGET:g} of Celery's" if is_asked else ""
            yield [f"{name}: tasks {what}", target, f"{median:,.0f}/s", f"{share:.2f}", verdict]


def _dispatch_rows(waits: Mapping[str, Sequence[float]]) -> Iterator[list[str]]:
    for name, seconds in waits.items():
        slow = seconds[int(0.95 * len(seconds))]
        verdict = judge(slow < _DISPATCH_TARGET, f"{1000 * (slow - _DISPATCH_TARGET):.0f} ms")
        median = f"{1000 * statistics.median(seconds):.1f} ms, 95 % under {1000 * slow:.1f} ms"
        target = f"95 % under {1000 * _DISPATCH_TARGET:g} ms"
        yield [f"{name}: from submit to start, idle worker", target, median, "", verdict]
