"""How much of a GPU's memory any program uses, as NVIDIA's driver says it, without torch."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import pynvml


@dataclass(frozen=True)
class GpuMemory:
    """In bytes."""

    used: int
    total: int


def measure(uuid: str) -> GpuMemory | None:
    """Return a GPU's memory; None if the driver does not say, as of a GPU that failed."""
    try:
        found = pynvml.nvmlDeviceGetMemoryInfo(_handle(uuid))
    except pynvml.NVMLError:
        return None
    return GpuMemory(used=int(found.used), total=int(found.total))


@cache
def _handle(uuid: str) -> Any:
    pynvml.nvmlInit()
    return pynvml.nvmlDeviceGetHandleByUUID(uuid)
