"""How fast workers are while no past run tells: a measured product rate, or an assumed one."""

import json
import os
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from platformdirs import user_cache_path

from models.spec import ExperimentSpec
from service.queries.rows import WorkerRow

#: What is assumed where nothing can be measured; processors and GPUs are within some times of it.
_CPU_FLOPS = 50e9
_GPU_FLOPS = 10e12
#: What a batch takes besides its products.
_BATCH_SECONDS = 0.001
#: A multiplication and an addition, forward, for the gradient, and for the inputs' gradient.
_TRAINING, _EVALUATION = 6, 2
_NVIDIA = Path("/dev/nvidiactl")


@dataclass(frozen=True)
class Speed:
    """Floating-point operations a second of one worker, and how they are known."""

    flops: float
    source: str

    def guess(self, spec: ExperimentSpec, weights: int) -> float:
        """Return the seconds that a run of a spec takes; `weights` is how many its network has."""
        images = _TRAINING * spec.images + _EVALUATION * spec.evaluation_images
        return spec.epochs * (weights * images / self.flops + spec.batches * _BATCH_SECONDS)


def has_gpu(workers: list[WorkerRow]) -> bool:
    """Whether one of the workers has a GPU; if there are none, whether this host has."""
    return any(worker.device_uuid for worker in workers) if workers else _NVIDIA.exists()


def find_speed(*, is_gpu: bool) -> Speed:
    """Return the speed of a worker with a GPU, or on a core as those of this host."""
    if is_gpu:
        return Speed(_GPU_FLOPS, "an assumed 10 TFLOP/s of a GPU")
    if flops := _find_rate():
        return Speed(flops, "a product rate measured on this host")
    return Speed(_CPU_FLOPS, "an assumed 50 GFLOP/s of a processor core")


@cache
def _find_rate() -> float | None:
    """Return the product rate of this host, measured once; None if it cannot be."""
    with suppress(OSError, RuntimeError, ValueError, LookupError, TypeError):
        return float(json.loads(_file().read_text())["flops"])
    flops = measure_product_rate()
    with suppress(OSError, RuntimeError):
        _file().parent.mkdir(parents=True, exist_ok=True)
        _file().write_text(json.dumps({"flops": flops}))
    return flops


def _file() -> Path:
    """Return where it is kept: a home may be several hosts'."""
    return user_cache_path("dq") / f"product-rate-{socket.gethostname()}.json"


def measure_product_rate() -> float | None:
    """Return the floating-point operations a second of a core; None on a host that trains nothing.

    It takes half a second, in a process that imports no torch.
    """
    if find_spec("numpy") is None:
        return None
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    command = [sys.executable, "-P", "-m", "worker.product_rate"]
    asked = subprocess.run(
        command, check=False, capture_output=True, text=True, env=os.environ | one_thread
    )
    return None if asked.returncode else float(asked.stdout)
