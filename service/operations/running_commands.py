"""Which commands run workers in a dq home: each holds the lock of a file until it ends."""

import fcntl
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Command:
    """A command that runs, in this process or another."""

    name: str
    pid: int

    def __str__(self) -> str:
        return f"dq {self.name} (process {self.pid})"


class RunningCommands:
    """The commands that run workers in a home; this process may be registered as one of them.

    A home in which nothing can be written is shared with nobody: there each command is alone.
    """

    def __init__(self, home: Path, name: str) -> None:
        self._folder = home / "running"
        self._own = Command(name, os.getpid())
        # Without the random part, a process in another container could have the same file.
        self._file = self._folder / f"{self._own.pid}-{secrets.token_hex(4)}"

    def register(self) -> Sequence[Command]:
        """Register this process until it ends, also after `exec`; return the other commands."""
        with self.locked() as others, suppress(OSError):
            file = os.open(self._file, os.O_CREAT | os.O_WRONLY, 0o600)
            fcntl.flock(file, fcntl.LOCK_EX)
            os.write(file, f"{self._own.name} {self._own.pid}".encode())
            os.set_inheritable(file, True)
        return others

    @contextmanager
    def locked(self) -> Iterator[Sequence[Command]]:
        """Give the other commands, and let none register before the end of the block."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = (self._folder / "lock").open("w")
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError:
            yield ()
            return
        with lock:
            files = [file for file in sorted(self._folder.glob("*-*")) if file != self._file]
            yield [command for file in files if (command := _read(file))]


def _read(file: Path) -> Command | None:
    """Return the command that holds a file; delete the file of one that has ended."""
    with suppress(OSError), file.open() as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            name, pid = opened.read().split()
            return Command(name, int(pid))
        file.unlink()
    return None
