"""Processes that do a thing at the same moment."""

import json
import subprocess
import sys
from typing import Any

_PRELUDE = """
import json, logging, sys
logging.disable()
def at_once():
    print("ready", flush=True)
    sys.stdin.readline()
"""


def race(code: str, *arguments: list[str]) -> list[Any]:
    """Run the code in one process for each list of arguments; return what each prints, as JSON.

    The code calls `at_once()`, which returns in all processes at the same time, once all got there.
    """
    racers = [_start(code, each) for each in arguments]
    try:
        for racer in racers:
            assert racer.stdout.readline() == "ready\n", racer.stderr.read()
        for racer in racers:
            racer.stdin.write("go\n")
            racer.stdin.flush()
        return [_finish(racer) for racer in racers]
    finally:
        for racer in racers:
            racer.kill()
            racer.wait()


def _start(code: str, arguments: list[str]) -> Any:
    command = [sys.executable, "-c", _PRELUDE + code, *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def _finish(racer: Any) -> Any:
    out, err = racer.communicate(timeout=60)
    assert racer.returncode == 0, err
    return json.loads(out)
