"""How much of a GPU's memory is in use, by whomever, asked of NVIDIA's driver without torch."""

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
    """Return a GPU's memory; None where the driver does not tell, as for a GPU that fell off."""
    try:
        found = pynvml.nvmlDeviceGetMemoryInfo(_handle(uuid))
    except pynvml.NVMLError:
        return None
    return GpuMemory(used=int(found.used), total=int(found.total))


@cache
def _handle(uuid: str) -> Any:
    pynvml.nvmlInit()
    return pynvml.nvmlDeviceGetHandleByUUID(uuid)
