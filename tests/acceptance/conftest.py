"""A person at a terminal: the installed `dq`, real processes, and a new home."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Union

import psutil
import pytest
from rich.cells import cell_len

from acceptance import fork_server
from acceptance.fork_server import OWN_PROCESS, Fork
from servers import short_folder, wait_until

DQ = Path(sys.executable).with_name("dq")
#: A small experiment on the data set that is always there: 12 batches an epoch.
DIGITS = {"--dataset": "digits", "--hidden": "16x2", "--batch-size": "100", "--epochs": "3"}
#: A command that was started.
Process = Union["subprocess.Popen[bytes]", Fork]
#: No request leaves this host, whether it has a network or not.
NO_NETWORK = {"HTTP_PROXY": "http://127.0.0.1:1", "HTTPS_PROXY": "http://127.0.0.1:1"}
#: What a command may take; other work on the host makes it slow.
PATIENCE = 150.0


@dataclass(frozen=True)
class Kind:
    """A kind of terminal: its size, and what its user has exported."""

    columns: int = 80
    lines: int = 24
    settings: Mapping[str, str] = field(default_factory=dict)


NARROW = Kind()
WIDE = Kind(200, 50)
DUMB = Kind(settings={"TERM": "dumb"})
COLOURLESS = Kind(settings={"NO_COLOR": "1"})
ASCII = Kind(settings={"LANG": "C"})
_WITH_COLOURS = {"TERM": "xterm-256color", "LANG": "C.UTF-8"}


@dataclass
class Terminal:
    """Types `dq` commands, each a process, with DQ_HOME below one folder."""

    folder: Path
    program: Path = DQ
    #: What the person has exported.
    settings: dict[str, str] = field(default_factory=dict)
    started: list[Process] = field(default_factory=list)

    @property
    def home(self) -> Path:
        return self.folder / "dq"

    def environment(self, **settings: str) -> dict[str, str]:
        """Return the developer's environment without any setting of dq, and with these."""
        theirs = ("DQ_", "PYT", "LC_", "NO_", "COL")
        own = {name: os.environ[name] for name in os.environ if name[:3] not in theirs}
        nowhere = {"DQ_HOME": str(self.home), "DQ_DATA_DIR": str(self.folder / "data")}
        here = {"HOME": str(self.folder), **NO_NETWORK, **nowhere}
        return {**own, **_WITH_COLOURS, **here, **self.settings, **settings}

    def dq(self, *words: str, **settings: str) -> "subprocess.CompletedProcess[str]":
        """Run a command to its end."""
        if self._may_fork(words):
            return fork_server.run(words, self.environment(**settings), self.folder, PATIENCE)
        return subprocess.run(
            [self.program, *words],
            env=self.environment(**settings),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def open_screen(
        self,
        *words: str,
        kind: Kind = NARROW,
        program: str | Path | None = None,
        shows_words: bool = True,
        **settings: str,
    ) -> "Screen":
        """Run `dq`, or another program, on a terminal, which also shows its words, or not."""
        ours, its = pty.openpty()
        termios.tcsetwinsize(its, (kind.lines, kind.columns))
        environment = self.environment(**kind.settings, **settings)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        errors = its if shows_words else nowhere
        process: Process
        if not program and self._may_fork(words):
            process = Fork(words, environment, self.folder, its, its, errors)
        else:
            process = subprocess.Popen(
                [program or self.program, *words],
                env=environment,
                cwd=self.folder,
                stdin=its,
                stdout=its,
                stderr=errors,
                start_new_session=True,
                preexec_fn=_take_terminal,  # noqa: PLW1509 - no thread runs here
            )
        os.close(its)
        os.close(nowhere)
        self.started.append(process)
        return Screen(process, ours, kind)

    def _may_fork(self, words: Sequence[str]) -> bool:
        return self.program == DQ and not OWN_PROCESS & {*words[:1]}

    def data(self, *words: str, **settings: str) -> Any:
        """Run a command that succeeds; return the data it printed."""
        done = self.dq(*words, "--json", **settings)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def submit(self, *words: str, **settings: str) -> list[int]:
        """Submit new jobs, small if no options make them large; return their ids."""
        defaults = [word for pair in DIGITS.items() if pair[0] not in words for word in pair]
        jobs: list[int] = self.data("submit", "--force", *defaults, *words, **settings)["jobs"]
        return jobs

    def run_jobs(self, *words: str) -> list[int]:
        """Submit jobs, and wait until they have succeeded."""
        jobs = self.submit(*words)
        assert self.dq("wait", f"{jobs[0]}..{jobs[-1]}").returncode == 0
        return jobs

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Keep the worker from taking jobs for the time of a `with`."""
        self.dq("pause")
        try:
            yield
        finally:
            self.dq("resume")

    def show(self, job_id: int) -> Any:
        return self.data("show", str(job_id))

    def start(self, log: str, *words: str, **settings: str) -> "subprocess.Popen[bytes]":
        """Start a command in a new session, as a terminal does; its output goes to `log`."""
        with (self.folder / log).open("wb") as out:
            process = subprocess.Popen(
                [self.program, *words],
                env=self.environment(**settings),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                preexec_fn=_heed_ctrl_c,  # noqa: PLW1509 - no thread runs here
            )
        self.started.append(process)
        return process

    def read(self, log: str) -> str:
        return (self.folder / log).read_text()

    def stop(self, process: "subprocess.Popen[bytes]", number: signal.Signals) -> float:
        """Send a signal to all of a command's session, as Ctrl-C does; return the seconds taken."""
        started_at = time.monotonic()
        os.killpg(process.pid, number)
        process.wait(timeout=PATIENCE)
        return time.monotonic() - started_at

    def processes(self) -> list[str]:
        """Return the command lines of all processes that work for this home."""
        return [line for each in psutil.process_iter() if (line := self._line(each))]

    def processes_with(self, library: str) -> list[str]:
        """Return the command lines of those of them that have a shared library loaded."""
        ours = [each for each in psutil.process_iter() if self._line(each)]
        return [self._line(each) for each in ours if library in self._maps(each)]

    def _maps(self, process: psutil.Process) -> str:
        with suppress(psutil.Error):
            return " ".join(each.path for each in process.memory_maps())
        return ""

    def _line(self, process: psutil.Process) -> str:
        with suppress(psutil.Error):
            line = " ".join(process.cmdline())
            is_ours = process.environ().get("DQ_HOME") == str(self.home) or str(self.home) in line
            return line if is_ours and process.status() != psutil.STATUS_ZOMBIE else ""
        return ""

    def close(self) -> None:
        """Stop whatever was started here and still runs, Redis at last, by its pid."""
        for process in self.started:
            if process.poll() is None:
                process.terminate()
        for process in self.started:
            process.wait(timeout=PATIENCE)
        # What a command left behind that should not have: it would start Redis again.
        for left in psutil.process_iter():
            if "supervise" in self._line(left):
                left.terminate()
        wait_until(lambda: "supervise" not in str(self.processes()), "the workers have ended")
        pid = self.home / "redis" / "redis.pid"
        with suppress(FileNotFoundError, ProcessLookupError):
            os.kill(int(pid.read_text()), signal.SIGTERM)
        wait_until(lambda: not self.processes(), "all processes have ended")


def _take_terminal() -> None:
    """Make standard input the controlling terminal of this session, so that Ctrl-C reaches it."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    _heed_ctrl_c()


def _heed_ctrl_c() -> None:
    """Have the program end by SIGINT, also where a shell runs the tests in the background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


#: A colour among the attributes that a sequence sets: 30..49 and 90..107.
_COLOUR = re.compile(rb"\x1b\[(\d+;)*([34]\d|9\d|10\d)[;\d]*m")
#: The begin of what a worker logs.
_LOGGED = re.compile(r"(\^C)?\d\d:\d\d:\d\d [A-Z]+ ")


@dataclass
class Screen:
    """A pseudo-terminal on which a command runs, as its controlling one."""

    process: Process
    file: int
    kind: Kind = NARROW
    written: bytes = b""
    _seen: int = 0

    @property
    def text(self) -> str:
        """All that was written so far, without colours; what is drawn over is there, too."""
        lines = self.written.decode(errors="replace").replace("\r\n", "\n").replace("\r", "\n")
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", lines)

    @property
    def faults(self) -> list[str]:
        """What this kind of terminal cannot show of all that was written, and tracebacks."""
        settings = self.kind.settings
        wide = [line for line in self.text.splitlines() if self._is_too_wide(line)]
        found = {
            "a traceback": "Traceback" in self.text,
            "half characters": "\N{REPLACEMENT CHARACTER}" in self.text,
            f"wider than the terminal: {wide}": wide,
            "an escape sequence": settings.get("TERM") == "dumb" and b"\x1b" in self.written,
            "a colour": "NO_COLOR" in settings and _COLOUR.search(self.written),
            "beyond ASCII": settings.get("LANG") == "C" and not self.written.isascii(),
        }
        return [fault for fault, is_there in found.items() if is_there]

    def _is_too_wide(self, line: str) -> bool:
        """Whether a line is laid out, and not for this width; the terminal folds a sentence."""
        is_laid_out = re.search(r"\S {2,}\S|[─━]", line) and not _LOGGED.match(line)
        return bool(is_laid_out) and cell_len(line.replace("^C", "")) > self.kind.columns

    def wait_for(self, pattern: str) -> str:
        """Read until there is a match after the last one found; return its (first) group."""

        def find() -> re.Match[str] | None:
            has_ended = self._read()
            match = re.compile(pattern).search(self.text, self._seen)
            assert match or not has_ended, f"{pattern!r} is not in {self.text}"
            return match

        found: re.Match[str] = wait_until(find, f"{pattern!r} is shown", PATIENCE)
        self._seen = found.end()
        return found[found.re.groups and 1]

    def press(self, key: bytes) -> None:
        os.write(self.file, key)

    def finish(self) -> int:
        """Read until the command has ended; return its exit code."""
        wait_until(self._read, "the command has ended", PATIENCE)
        os.close(self.file)
        return self.process.wait(timeout=PATIENCE)

    def _read(self) -> bool:
        """Read what there is now; return whether the other end was closed."""
        try:
            while select.select([self.file], [], [], 0.05)[0]:
                self.written += os.read(self.file, 65_536)
        except OSError:  # Linux' way to say that it was
            return True
        return False


@contextmanager
def open_terminal(**settings: str) -> Iterator[Terminal]:
    with short_folder("dq-") as folder:
        opened = Terminal(folder, settings=settings)
        try:
            yield opened
        finally:
            opened.close()


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    """A terminal on a machine where dq was never used."""
    with open_terminal() as opened:
        yield opened


@pytest.fixture(scope="module")
def manned() -> Iterator[Terminal]:
    """A terminal where one worker runs, for all tests of a module."""
    with open_terminal() as opened:
        opened.start("worker.log", "worker", "--device", "cpu", "--workers", "1")
        yield opened
