"""How fast a worker computes, where there is no past run: as measured on this host, or assumed."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from platformdirs import user_cache_path

from models.spec import ExperimentSpec
from service.queries.rows import WorkerRow

#: Assumed where nothing can be measured; most processors and GPUs are within a few times of these.
_CPU_FLOPS = 50e9
_GPU_FLOPS = 10e12
#: The time of a batch besides its matrix products.
_BATCH_SECONDS = 0.001
#: Operations for each weight and image: a multiplication and an addition in the forward pass, and
#: in training as many for the gradient and for the inputs' gradient.
_TRAINING, _EVALUATION = 6, 2
_NVIDIA = Path("/dev/nvidiactl")


@dataclass(frozen=True)
class Speed:
    """The floating-point operations a second of one worker, and how they are known."""

    flops: float
    source: str

    def predict_seconds(self, spec: ExperimentSpec, weights: int) -> float:
        """Return the seconds that a run of a spec takes; `weights` is how many its network has."""
        images = _TRAINING * spec.images + _EVALUATION * spec.evaluation_images
        return spec.epochs * (weights * images / self.flops + spec.batches * _BATCH_SECONDS)


def has_gpu(workers: Sequence[WorkerRow]) -> bool:
    """Whether one of the workers has a GPU; if there are none, whether this host has."""
    return any(worker.device_uuid for worker in workers) if workers else _NVIDIA.exists()


def find_speed(*, is_gpu: bool) -> Speed:
    """Return the speed of a worker with a GPU, or of a core of this host."""
    if is_gpu:
        return Speed(_GPU_FLOPS, "an assumed 10 TFLOP/s of a GPU")
    if flops := _find_flops():
        return Speed(flops, "matrix products timed on this host")
    return Speed(_CPU_FLOPS, "an assumed 50 GFLOP/s of a processor core")


@cache
def _find_flops() -> float | None:
    """Return what was measured on this host, once for all commands; None if it cannot be."""
    # A home may be shared by several hosts.
    file = user_cache_path("dq") / f"product-rate-{socket.gethostname()}.json"
    with suppress(OSError, RuntimeError, ValueError, LookupError, TypeError):
        return float(json.loads(file.read_text())["flops"])
    flops = measure_flops()
    with suppress(OSError, RuntimeError):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"flops": flops}))
    return flops


def measure_flops() -> float | None:
    """Return the floating-point operations a second of a core; None on a host that trains nothing.

    It takes half a second, in a process that imports no torch.
    """
    if find_spec("numpy") is None:
        return None
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    command = [sys.executable, "-P", "-m", "worker.product_rate"]
    measured = subprocess.run(
        command, check=False, capture_output=True, text=True, env=os.environ | one_thread
    )
    return None if measured.returncode else float(measured.stdout)
