"""The places where jobs can run on this host: a GPU each, or a core of the CPU."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

from models.errors import DqError, UsageError

_MOST_CPU_PROCESSES = 4


@dataclass(frozen=True)
class Place:
    """One worker process' share of the host."""

    name: str
    device: str
    environment: dict[str, str]

    def with_setting(self, name: str, value: str) -> "Place":
        """Return the place with one more environment variable."""
        return replace(self, environment={**self.environment, name: value})


def places(device: str, processes: int | None) -> Sequence[Place]:
    """Share the host out: a process per GPU, or on the CPU `processes`, by default one a core.

    `device` is auto, cpu or cuda. Raise UsageError if there is no such device.
    """
    gpus = [] if device == "cpu" else visible_gpus()
    if device == "cuda" and not gpus:
        raise UsageError("torch sees no GPU here. Type: dq doctor, or dq worker --device cpu")
    if gpus:
        return [_gpu(index, title) for index, title in enumerate(gpus)]
    count = processes or min(_cores(), _MOST_CPU_PROCESSES)
    return [_core(index) for index in range(count)]


def visible_gpus() -> list[str]:
    """Return the names of the GPUs torch sees, asked in a process of its own.

    torch is large, and a process that has run its threads must not fork: no parent imports it.
    """
    code = (
        "import json, torch;"
        "print(json.dumps([torch.cuda.get_device_name(i)"
        " for i in range(torch.cuda.device_count())]))"
    )
    asked = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False
    )
    if asked.returncode:
        why = asked.stderr.strip().splitlines() or [f"exit {asked.returncode}"]
        raise DqError(f"torch does not start: {why[-1]}")
    names: list[str] = json.loads(asked.stdout)
    return names


def _gpu(index: int, title: str) -> Place:
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    visible = chosen[index] if index < len(chosen) and chosen[index] else str(index)
    return Place(f"cuda{index}", title, {"CUDA_VISIBLE_DEVICES": visible, **_threads(_cores())})


def _core(index: int) -> Place:
    # One thread, always: with two, sums are rounded in another order, and the same spec would give
    # other figures on another worker. Processes of one thread are the faster use of cores, too.
    return Place(f"cpu{index}", "cpu", {"CUDA_VISIBLE_DEVICES": "", **_threads(1)})


def _threads(count: int) -> dict[str, str]:
    return {"OMP_NUM_THREADS": str(max(1, count))}


def _cores() -> int:
    return len(os.sched_getaffinity(0))
