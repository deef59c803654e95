"""Starts the worker's own program, `python -m worker`, which needs torch; the client does not."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

from models.errors import DqError
from service.operations.signals import sigint_blocked

_PROGRAM = [sys.executable, "-P", "-m", "worker"]


class WorkerUnavailable(DqError):
    """The worker's packages are not installed here."""


def become(arguments: Sequence[str]) -> NoReturn:
    """Replace this process by the worker's, which takes Ctrl-C once it is ready for it."""
    _check_installed()
    sys.stdout.flush()
    with sigint_blocked():
        os.execv(sys.executable, [*_PROGRAM, *arguments])


def start(arguments: Sequence[str], log: Path | None = None) -> "subprocess.Popen[bytes]":
    """Start the worker beside this process, out of reach of the terminal's Ctrl-C."""
    _check_installed()
    with log.open("wb") if log else nullcontext() as out:
        return subprocess.Popen(
            [*_PROGRAM, *arguments], start_new_session=True, stdout=out, stderr=out
        )


def call(arguments: Sequence[str]) -> int:
    """Run one of the worker's commands to its end; return its exit code."""
    return _run(arguments).returncode


def ask(arguments: Sequence[str]) -> Any:
    """Run one of the worker's commands, and return the JSON it printed."""
    done = _run(arguments, capture_output=True)
    if done.returncode:
        raise DqError(done.stderr.strip().removeprefix("Error: ") or "the worker does not start")
    return json.loads(done.stdout)


def _run(
    arguments: Sequence[str], *, capture_output: bool = False
) -> "subprocess.CompletedProcess[str]":
    _check_installed()
    with sigint_blocked():  # the worker's program gets Ctrl-C itself
        return subprocess.run(
            [*_PROGRAM, *arguments], check=False, capture_output=capture_output, text=True
        )


def _check_installed() -> None:
    missing = [name for name in ("torch", "numpy", "sklearn", "pooch") if find_spec(name) is None]
    if missing:
        raise WorkerUnavailable(
            f"This host has only the client: {', '.join(missing)} is missing. "
            "Type: pip install 'dq[worker]'"
        )
