"""The devices of this host that can run jobs: its GPUs, or cores of its CPU."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

from models.errors import DqError, UsageError

logger = logging.getLogger(__name__)
_MOST_CPU_PROCESSES = 4
#: What the notebook's network needs, with its data and CUDA itself.
_LEAST_FREE_BYTES = 2 * 2**30
_GIB = 2**30


@dataclass(frozen=True)
class Gpu:
    """A GPU as torch sees it; its memory in bytes."""

    name: str
    uuid: str
    free: int
    total: int


@dataclass(frozen=True)
class Device:
    """What one worker process runs on."""

    name: str
    #: As its maker calls it; "cpu" for a core.
    model: str
    environment: dict[str, str]
    #: Of a GPU: the same whatever CUDA_VISIBLE_DEVICES makes of the numbers.
    uuid: str | None = None

    def with_setting(self, name: str, value: str) -> "Device":
        """Return the device with another environment variable."""
        return replace(self, environment={**self.environment, name: value})


def choose_devices(
    kind: str, processes: int | None, chosen: Sequence[int] = ()
) -> Sequence[Device]:
    """Return a device for each worker process: the GPUs, or cores of the CPU.

    `kind` is auto, cpu or cuda. `processes` is the number of cores, by default all up to 4;
    `chosen` are the numbers of the GPUs, by default all with memory left.
    Raise UsageError if there is no such device, and DqError if none has memory left.
    """
    gpus = [] if kind == "cpu" else visible_gpus()
    if (kind == "cuda" or chosen) and not gpus:
        raise UsageError("torch sees no GPU here. Type: dq doctor, or dq worker --device cpu")
    if gpus:
        return [_gpu(index, gpus[index]) for index in _usable(gpus, chosen)]
    count = processes or min(_cores(), _MOST_CPU_PROCESSES)
    return [_core(index) for index in range(count)]


def _usable(gpus: Sequence[Gpu], chosen: Sequence[int]) -> Sequence[int]:
    """Return the numbers of the GPUs to use: those chosen, or all with memory left."""
    if absent := [index for index in chosen if index >= len(gpus)]:
        raise UsageError(f"There is no GPU {absent[0]}: torch sees 0 to {len(gpus) - 1}")
    wanted = chosen or range(len(gpus))
    refusals = {index: why for index in wanted if (why := _refuse(index, gpus[index]))}
    if refusals and (chosen or len(refusals) == len(gpus)):
        raise DqError("\n".join(refusals.values()))
    for why in refusals.values():
        logger.warning("%s", why)
    return [index for index in wanted if index not in refusals]


def _refuse(index: int, gpu: Gpu) -> str | None:
    """Return why a GPU is not used; None if it may be."""
    if gpu.free >= _LEAST_FREE_BYTES:
        return None
    return (
        f"GPU {index} ({gpu.name}, {gpu.uuid}) is not taken: {gpu.free / _GIB:.1f} of "
        f"{gpu.total / _GIB:.1f} GiB are free, a worker needs {_LEAST_FREE_BYTES / _GIB:g}. "
        "Type: nvidia-smi, to see what fills it"
    )


_LIST_GPUS = """
import json, torch
def look(index):
    found = torch.cuda.get_device_properties(index)
    free, total = torch.cuda.mem_get_info(index)
    return {"name": found.name, "uuid": f"GPU-{found.uuid}", "free": free, "total": total}
print(json.dumps([look(index) for index in range(torch.cuda.device_count())]))
"""


def visible_gpus() -> list[Gpu]:
    """Return the GPUs that torch sees, by a separate process.

    torch is large, and a process that ran its threads must not fork: no parent imports it.
    """
    done = subprocess.run(
        [sys.executable, "-P", "-c", _LIST_GPUS], capture_output=True, text=True, check=False
    )
    if done.returncode:
        why = done.stderr.strip().splitlines() or [f"exit {done.returncode}"]
        raise DqError(f"torch does not start: {why[-1]}")
    return [Gpu(**found) for found in json.loads(done.stdout)]


def _gpu(index: int, gpu: Gpu) -> Device:
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    visible = chosen[index] if index < len(chosen) and chosen[index] else str(index)
    environment = {"CUDA_VISIBLE_DEVICES": visible, **_threads(_cores())}
    return Device(f"cuda{index}", gpu.name, environment, gpu.uuid)


def _core(index: int) -> Device:
    # One thread, always: with two, sums are rounded in another order, and the same spec would give
    # other figures on another worker. Processes of one thread use the cores better, too.
    return Device(f"cpu{index}", "cpu", {"CUDA_VISIBLE_DEVICES": "", **_threads(1)})


def _threads(count: int) -> dict[str, str]:
    return {"OMP_NUM_THREADS": str(max(1, count))}


def _cores() -> int:
    return len(os.sched_getaffinity(0))
