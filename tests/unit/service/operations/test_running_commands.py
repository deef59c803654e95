"""Each test starts the other command as a process of its own, in a home of its own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from service.operations.running_commands import Command, RunningCommands

#: Registers a command, becomes another program as `dq worker` does, and waits.
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


def others(commands: RunningCommands) -> list[Command]:
    with commands.locked() as found:
        return list(found)


def test_commands_in_one_home_see_each_other_until_they_end_or_are_killed(home: Path):
    first = RunningCommands(home, "up")

    found = first.register()
    with other(home) as (said, pid):
        there = others(first)
    left = others(first)

    assert list(found) == []
    assert said == f"dq up (process {os.getpid()})"
    assert there == [Command("worker", pid)]
    assert left == []


def test_commands_in_different_homes_do_not_see_each_other(home: Path):
    with other(home / "other"):
        assert list(RunningCommands(home, "up").register()) == []


def test_in_a_read_only_home_no_command_sees_another(home: Path):
    home.mkdir(parents=True)
    (home / "running").write_text("a file")  # root may write in every folder

    assert list(RunningCommands(home, "up").register()) == []
