"""Which commands run workers in a dq home; each holds a lock there, which its end releases."""

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
    """One process among those that run workers in a home.

    A home in which nothing can be written is shared with nobody: then each is alone.
    """

    def __init__(self, home: Path, name: str) -> None:
        self._folder = home / "running"
        self._me = Command(name, os.getpid())
        # The pid alone may be that of a process in another container.
        self._file = self._folder / f"{self._me.pid}-{secrets.token_hex(4)}"

    def register(self) -> Sequence[Command]:
        """Be listed until this process ends, and be it another program; return the others."""
        with self.locked() as others, suppress(OSError):
            file = os.open(self._file, os.O_CREAT | os.O_WRONLY, 0o600)
            fcntl.flock(file, fcntl.LOCK_EX)
            os.write(file, f"{self._me.name} {self._me.pid}".encode())
            os.set_inheritable(file, True)
        return others

    @contextmanager
    def locked(self) -> Iterator[Sequence[Command]]:
        """Give the other commands that run, and let none come for the time of a `with`."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = (self._folder / "lock").open("w")
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError:
            yield ()
            return
        with lock:
            files = sorted(self._folder.glob("*-*"))
            yield [found for each in files if each != self._file and (found := _find(each))]


def _find(file: Path) -> Command | None:
    """Return the command that holds a file; delete the file of one that has ended."""
    with suppress(OSError), file.open() as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            name, pid = opened.read().split()
            return Command(name, int(pid))
        file.unlink()
    return None
