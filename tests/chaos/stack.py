"""A real dq for faults to hit: Redis, a database, and workers, all as processes."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import psutil

from models.database import Database
from models.embedded_redis import find_server
from models.settings import Settings
from servers import PostgresServer, RedisServer, short_folder
from service.operations.schema import upgrade

DQ = str(Path(sys.executable).with_name("dq"))
LEASE_SECONDS = 3.0
#: An hour ahead: what leases and times in SQL must not notice.
WRONG_CLOCK = """
import time
_time, _time_ns = time.time, time.time_ns
time.time = lambda: _time() + 3600
time.time_ns = lambda: _time_ns() + 3600 * 10**9
"""


@dataclass
class WorkerHost:
    """A `dq worker`, its Celery process and that one's child."""

    environment: dict[str, str]
    log: Path
    process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                [DQ, "worker", "--device", "cpu", "--workers", "1"],
                env=self.environment,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    def restart_if_dead(self) -> None:
        """Start it again if it ended, as systemd or compose would."""
        if self.process is None or self.process.poll() is not None:
            self.start()

    def celery(self) -> psutil.Process | None:
        """Return the Celery process."""
        return next((each for each in self._descendants() if "consume" in _command(each)), None)

    def child(self) -> psutil.Process | None:
        """Return the process that trains."""
        parent = self.celery()
        if parent is None:
            return None
        with suppress(psutil.Error):
            return next((each for each in parent.children() if _is_child(each)), None)
        return None

    def stop(self) -> None:
        """End it and what belongs to it."""
        left = self._descendants()
        if self.process and self.process.poll() is None:
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(15)
            self.process.kill()
            self.process.wait()
        for each in left:
            with suppress(psutil.Error):
                each.kill()

    def _descendants(self) -> list[psutil.Process]:
        if self.process is None:
            return []
        with suppress(psutil.Error):
            return psutil.Process(self.process.pid).children(recursive=True)
        return []


class DurableRedis(RedisServer):
    """A Redis that finds its queue again when it is started after a kill."""

    def start(self) -> None:
        command = [find_server(), "--port", "0", "--unixsocket", self.socket]
        self._spawn([*command, "--dir", self.folder, "--appendonly", "yes", "--save", ""])


@dataclass
class Stack:
    """All of it; `folder` holds every file."""

    folder: Path
    redis: DurableRedis
    postgres: PostgresServer | None
    workers: list[WorkerHost] = field(default_factory=list)

    @cached_property
    def settings(self) -> Settings:
        return Settings(
            home=self.folder / "home",
            database_url=self._database_url,
            broker_url=self.redis.url,
            checkpoint_dir=self.folder / "checkpoints",
            lease_seconds=LEASE_SECONDS,
        )

    @cached_property
    def database(self) -> Database:
        return Database(self.settings.sql_url)

    def restart_postgres(self) -> None:
        """Crash it, and wait until it has recovered."""
        assert self.postgres is not None
        self.postgres.stop(signal.SIGQUIT)
        self.postgres.start()

    def add_worker(self, *, wrong_clock: bool = False, **variables: str) -> None:
        name = f"w{len(self.workers)}"
        environment = self._environment() | variables
        if wrong_clock:
            folder = self.folder / "wrong_clock"
            folder.mkdir()
            (folder / "sitecustomize.py").write_text(WRONG_CLOCK)
            environment["PYTHONPATH"] = str(folder)
        worker = WorkerHost(environment, self.folder / f"{name}.log")
        worker.start()
        self.workers.append(worker)

    def logs(self) -> str:
        """Return what all workers said."""
        return "".join(worker.log.read_text(errors="replace") for worker in self.workers)

    def stop(self) -> None:
        for worker in self.workers:
            worker.stop()
        self.database.engine.dispose()
        self.redis.stop()
        if self.postgres:
            self.postgres.stop()

    @property
    def _database_url(self) -> str:
        if self.postgres:
            return self.postgres.url("postgres")
        return f"sqlite:///{self.folder / 'dq.sqlite'}"

    def _environment(self) -> dict[str, str]:
        ours = {name: value for name, value in os.environ.items() if not name.startswith("DQ_")}
        given = self.settings.model_dump(mode="json", exclude={"data_dir"}, exclude_none=True)
        return ours | {f"DQ_{name.upper()}": str(value) for name, value in given.items()}


@contextmanager
def open_stack(*, postgresql: bool, workers: int) -> Iterator[Stack]:
    """Start everything, one worker's clock being an hour off; stop and remove it at the end."""
    with short_folder("dq-chaos-") as folder:
        stack = _start(folder, postgresql)
        try:
            for number in range(workers):
                stack.add_worker(wrong_clock=number == 1)
            yield stack
        finally:
            stack.stop()


def _start(folder: Path, postgresql: bool) -> Stack:
    postgres = None
    if postgresql:
        (folder / "pg").mkdir()
        folder.chmod(0o755)  # if this is root, PostgreSQL runs as nobody
        postgres = PostgresServer(folder / "pg")
        postgres.initialise()
        postgres.start()
    stack = Stack(folder, DurableRedis(folder), postgres)
    stack.redis.start()
    upgrade(stack.database)
    return stack


def kill(process: psutil.Process | None, number: signal.Signals = signal.SIGKILL) -> bool:
    """Send a signal; return whether there was a process to take it."""
    if process is None:
        return False
    with suppress(psutil.Error):
        process.send_signal(number)
        return True
    return False


def _command(process: psutil.Process) -> list[str]:
    with suppress(psutil.Error):
        return process.cmdline()
    return []


def _is_child(process: psutil.Process) -> bool:
    # Beside it the Celery process has the tracker of spawn's semaphores.
    command = " ".join(_command(process))
    return "spawn_main" in command or "billiard.spawn" in command
