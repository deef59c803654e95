"""Each test starts the other command as a process of its own, in a home of its own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from service.operations.running_commands import Command, RunningCommands

#: Announces a command, becomes another program as `dq worker` does, and waits.
OTHER = """
import os, sys
from pathlib import Path
from service.operations.running_commands import RunningCommands
print(*RunningCommands(Path(sys.argv[1]), "worker").register(), sep=", ", flush=True)
os.execv(sys.executable, [sys.executable, "-c", "import sys; sys.stdin.read()"])
"""


@contextmanager
def other(home: Path) -> Iterator[tuple[str, int]]:
    """Run the other command; give what it says of whom it found, and its pid."""
    command = [sys.executable, "-c", OTHER, str(home)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:
        yield process.stdout.readline().strip(), process.pid
        process.kill()


def others(presence: RunningCommands) -> list[Command]:
    with presence.locked() as found:
        return list(found)


def test_commands_in_one_home_know_of_each_other_until_they_end_however_they_do(home: Path):
    first = RunningCommands(home, "up")

    found = first.register()
    with other(home) as (said, pid):
        there = others(first)
    left = others(first)

    assert list(found) == []
    assert said == f"dq up (process {os.getpid()})"
    assert there == [Command("worker", pid)]
    assert left == []


def test_another_home_is_none_of_theirs(home: Path):
    with other(home / "other"):
        assert list(RunningCommands(home, "up").register()) == []


def test_where_nothing_can_be_written_each_is_alone(home: Path):
    home.mkdir(parents=True)
    (home / "running").write_text("a file")  # root may write in every folder

    assert list(RunningCommands(home, "up").register()) == []
