"""Redis and a worker for as long as a command runs: `dq up` and `dq demo`."""

import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import Literal, Self

from models.embedded_redis import EmbeddedRedis
from models.errors import DqError
from models.settings import Settings
from service.operations import worker_program
from service.operations.running_commands import Command, RunningCommands
from service.operations.schema import open_database

#: A worker told to stop gives its jobs back within ten seconds.
_STOP_SECONDS = 15.0


class LocalService:
    """The embedded Redis, unless another one is configured, and a worker; the end stops both.

    The worker's output goes to the file `log`, or else to the terminal. `dq up` must be the only
    command that runs workers in its home, and stops Redis even if another command started it;
    `dq demo` uses the workers of other commands. A Redis that others use is not stopped.
    """

    def __init__(
        self,
        settings: Settings,
        worker_arguments: Sequence[str],
        *,
        name: Literal["up", "demo"] = "demo",
        log: Path | None = None,
    ) -> None:
        self.log = log
        #: The other commands that run workers in this home.
        self.others: Sequence[Command] = ()
        self._home, self._is_alone = settings.home, name == "up"
        self._arguments = [*worker_arguments, "--with-parent", str(os.getpid())]
        self._redis = EmbeddedRedis(settings.home) if settings.is_broker_embedded else None
        self._stops_redis = self._is_alone
        self._worker: subprocess.Popen[bytes] | None = None
        self._commands = RunningCommands(settings.home, name)
        open_database(settings)

    def __enter__(self) -> Self:
        # By default these signals end this process at once, and what it started would go on.
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _exit)
        self.others = self._commands.register()
        if self.others and self._is_alone:
            raise DqError(_refuse(self.others[0], self._home))
        if self._redis and self._redis.ensure_running():
            self._stops_redis = True
        if not self.others:
            self._worker = worker_program.start(self._arguments, self.log)
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self._stop_worker()
        with self._commands.locked() as others:
            if self._redis and self._stops_redis and not others and self._redis.is_running():
                self._redis.stop()

    def check(self) -> None:
        """Raise DqError if the worker has ended by itself."""
        if self._worker and self._worker.poll() is not None:
            raise DqError(f"The worker ended (exit {self._worker.returncode}): see {self.log}")
        if self.others:
            with self._commands.locked() as left:
                if not left:
                    raise DqError(f"{self.others[0]} ended, which ran the jobs. Type: dq worker")

    def wait(self) -> int:
        """Wait until the worker ends; have SIGINT and SIGTERM stop it. Return its exit code."""
        worker = self._worker
        assert worker is not None

        def stop(_: int, __: FrameType | None) -> None:
            worker.terminate()  # SIGINT while it starts would show a traceback

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, stop)
        code = worker.wait()
        return 0 if code == -signal.SIGTERM else code

    def _stop_worker(self) -> None:
        if self._worker is None or self._worker.poll() is not None:
            return
        self._worker.terminate()
        try:
            self._worker.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._worker.terminate()  # the second signal stops at once
            self._worker.wait()


def _exit(number: int, _: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _refuse(other: Command, home: Path) -> str:
    return (
        f"{other} already runs workers in {home}, which take what you submit. Type: dq status, or "
        f"dq web for the page. To start dq up instead, end the other first: kill {other.pid}"
    )
