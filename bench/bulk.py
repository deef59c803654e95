"""Times operations on 100,000 jobs at once on SQLite, and how long another writer waits."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from bench.section import Section, judge, show
from bench.servers import open_redis
from models.database import Database
from models.settings import Settings
from models.spec import ExperimentSpec
from service import jobs
from service.jobs import SubmitOptions
from service.jobs.annotations import add_tags
from service.jobs.broker import Broker
from service.jobs.deletion import delete_jobs
from service.operations.schema import upgrade
from service.queries.selectors import parse_selectors
from tests.servers import short_folder

#: Seconds.
_MOST_WAITING = 2.0
_SWEEP = parse_selectors(["s1"])
_WRITER = """
import sys, threading, time
from sqlalchemy import text
from models.database import Database

database, waits, ended = Database(sys.argv[1]), [0.0], threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
while not ended.wait(0.05):
    began = time.perf_counter()
    with database.writing() as session:
        session.execute(text("UPDATE workers SET state = state"))
    waits.append(time.perf_counter() - began)
print(max(waits), len(waits) - 1)
"""


def measure(number: int) -> Section:
    """Submit a number of specs that differ in their seed, and time each operation on them."""
    about = (
        f"{number:,} jobs on an SQLite file on disk (synchronous=FULL) and a Redis with "
        "appendonly, each operation once. Meanwhile another process writes to the file 20 times a "
        "second, and notes its longest wait, its own write included."
    )
    with short_folder("dq-bench-") as folder, open_redis() as redis:
        settings = Settings(database_url=f"sqlite:///{folder}/dq.sqlite", broker_url=redis.url)
        rows = show(_measure_all(settings, number, folder))
    columns = ["operation", "target", "time", "", "CPU time", "longest wait", ""]
    return Section("Many jobs at once", about, columns, rows)


def _measure_all(settings: Settings, number: int, folder: Path) -> Iterator[list[str]]:
    database, broker = Database(settings.sql_url), Broker(settings)
    upgrade(database)
    spec = ExperimentSpec(dataset="digits", hidden=(16,), batch_size=100)
    specs = [spec.model_copy(update={"seed": seed}) for seed in range(number)]

    def submit(token: str) -> None:
        jobs.submit(database, broker, specs, SubmitOptions(reuse=True), token)

    operations: list[tuple[str, float | None, Callable[[], object]]] = [
        ("submit, all of them new", 30, lambda: submit("0" * 32)),
        ("submit, all of them queued before", 30, lambda: submit(uuid4().hex)),
        ("tag", 10, lambda: add_tags(database, _SWEEP, ["paper"])),
        ("hold", 10, lambda: jobs.hold(database, _SWEEP)),
        ("release", 30, lambda: jobs.release(database, broker, _SWEEP)),
        ("cancel", 10, lambda: jobs.cancel(database, _SWEEP)),
        ("retry", 30, lambda: jobs.retry(database, broker, _SWEEP, from_scratch=False)),
        ("cancel again", 10, lambda: jobs.cancel(database, _SWEEP)),
        ("delete", None, lambda: delete_jobs(database, _SWEEP, folder)),
    ]
    for name, target, operation in operations:
        yield _time(name, target, operation, settings.sql_url)
    database.engine.dispose()


def _time(name: str, target: float | None, operation: Callable[[], object], url: str) -> list[str]:
    with _writing(url) as finish:
        began, cpu = time.perf_counter(), time.process_time()
        operation()
        taken, cpu = time.perf_counter() - began, time.process_time() - cpu
        longest, writes = finish()
    return [
        name,
        f"{target:g} s" if target else "",
        f"{taken:.1f} s",
        judge(taken <= target, f"{taken - target:.1f} s") if target else "",
        f"{cpu:.1f} s",
        f"{longest:.2f} s of {writes:,}",
        judge(longest <= _MOST_WAITING, f"{longest - _MOST_WAITING:.1f} s"),
    ]


@contextmanager
def _writing(url: str) -> Iterator[Callable[[], tuple[float, int]]]:
    """Have another process write; give a function that ends it: its longest wait and writes."""
    command = [sys.executable, "-c", _WRITER, url]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as writer:

        def finish() -> tuple[float, int]:
            out, _ = writer.communicate(timeout=60)
            longest, writes = out.split()
            return float(longest), int(writes)

        yield finish
