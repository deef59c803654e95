"""Runs `dq` in forks of one process that has imported it, which saves each half a second.

A fork is a process with streams, a terminal, signals and an exit code of its own, and ends as any
other does. As a program, this is the server: it reads requests from standard input, a socket.
"""

import atexit
import fcntl
import gc
import importlib
import json
import os
import pkgutil
import selectors
import signal
import socket
import subprocess
import sys
import termios
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NoReturn, TextIO

from sqlalchemy.orm import configure_mappers

import service
from service.cli import main

#: Commands that start processes or serve pages: they are run as their users run them.
OWN_PROCESS = {"worker", "up", "demo", "web"}
_LONGEST_REQUEST = 200_000
#: What commands import when they reach their database or broker.
_LIBRARIES = (
    "alembic.command",
    "kombu.transport.redis",
    "psycopg",
    "sqlalchemy.dialects.sqlite.pysqlite",
    "sqlalchemy.dialects.postgresql.psycopg",
)


class Fork:
    """A command in a fork of the server, with those methods of Popen that tests use."""

    def __init__(
        self, words: Sequence[str], environment: Mapping[str, str], folder: Path, *streams: int
    ) -> None:
        self.returncode: int | None = None
        self._report, its = os.pipe()
        request = {"words": words, "environment": dict(environment), "folder": str(folder)}
        socket.send_fds(_server(), [json.dumps(request).encode()], [*streams, its])
        os.close(its)
        self.pid = self._read()

    def poll(self) -> int | None:
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            with selectors.DefaultSelector() as selector:
                selector.register(self._report, selectors.EVENT_READ)
                if not selector.select(timeout):
                    raise subprocess.TimeoutExpired("dq", timeout or 0)
            self.returncode = os.waitstatus_to_exitcode(self._read())
            os.close(self._report)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def _read(self) -> int:
        """Read a number of 8 bytes, which is written at once."""
        return int.from_bytes(os.read(self._report, 8), "little")


def run(
    words: Sequence[str], environment: Mapping[str, str], folder: Path, timeout: float
) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end, with its output in pipes."""
    (out, its_out), (err, its_err) = os.pipe(), os.pipe()
    nothing = os.open(os.devnull, os.O_RDONLY)
    fork = Fork(words, environment, folder, nothing, its_out, its_err)
    for file in (nothing, its_out, its_err):
        os.close(file)
    written = {out: b"", err: b""}
    with selectors.DefaultSelector() as selector:
        for file in written:
            selector.register(file, selectors.EVENT_READ)
        deadline = time.monotonic() + timeout
        while selector.get_map():
            ready = selector.select(deadline - time.monotonic())
            if not ready:
                fork.send_signal(signal.SIGKILL)
                raise subprocess.TimeoutExpired(list(words), timeout)
            for key, _ in ready:
                written[key.fd] += (chunk := os.read(key.fd, 65_536))
                if not chunk:
                    selector.unregister(key.fd)
                    os.close(key.fd)
    code = fork.wait(timeout)
    return subprocess.CompletedProcess(
        ["dq", *words], code, written[out].decode(), written[err].decode()
    )


@cache
def _server() -> socket.socket:
    """Start the server; it ends with this process, when nobody has the socket open any more."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    server = subprocess.Popen([sys.executable, __file__], stdin=its, start_new_session=True)
    its.close()

    def stop() -> None:
        ours.close()
        server.wait(10)

    atexit.register(stop)
    return ours


def _serve() -> None:
    """Fork for each request; returns in the forks, each of which is then to be the command."""
    requests = socket.socket(fileno=0)
    gc.freeze()
    while True:
        text, files, _, _ = socket.recv_fds(requests, _LONGEST_REQUEST, 4)
        if not text:
            sys.exit()
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if not os.fork():
            requests.close()
            _fork_and_report(files)
            _become(files, **json.loads(text))
            return
        for file in files:
            os.close(file)


def _fork_and_report(files: list[int]) -> None:
    """Fork; report the fork's pid, then how it ended. Returns in that fork."""
    pid = os.fork()
    report = files.pop()
    if not pid:
        os.close(report)
        return
    for file in files:
        os.close(file)
    os.write(report, pid.to_bytes(8, "little"))
    os.write(report, os.waitpid(pid, 0)[1].to_bytes(8, "little"))
    os._exit(0)


def _become(files: list[int], words: list[str], environment: dict[str, str], folder: str) -> None:
    """Take over streams, environment and folder, as a new Python would."""
    os.setsid()
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    if os.isatty(0):
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv[:] = ["dq", *words]
    encoding, _, errors = environment.get("PYTHONIOENCODING", "utf-8").partition(":")
    if environment.get("LANG") == "C":  # https://peps.python.org/pep-0538/
        os.environ["LC_CTYPE"] = "C.UTF-8"
        errors = errors or "surrogateescape"
    sys.stdin = _open(0, "r", encoding, errors or "strict")
    sys.stdout = _open(1, "w", encoding, errors or "strict")
    sys.stderr = _open(2, "w", encoding, "backslashreplace")


def _open(file: int, mode: str, encoding: str, errors: str) -> TextIO:
    return open(file, mode, encoding=encoding, errors=errors, closefd=False)


def _import_all() -> None:
    """Import what commands do, now or at need, but for the pages."""
    for name in _LIBRARIES:
        importlib.import_module(name)
    for module in pkgutil.walk_packages(service.__path__, "service."):
        if not module.name.startswith("service.web"):
            importlib.import_module(module.name)
    configure_mappers()


def _run() -> NoReturn:
    """Be the command. What Python does last is left out: it takes longer than most commands."""
    code: Any = 1
    try:
        main()
    except SystemExit as end:
        code = end.code or 0
    except BaseException:  # noqa: BLE001 - this is the end of a process
        traceback.print_exc()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    _import_all()
    _serve()
    _run()
