"""Finds out what a result depends on: software, device, host, commit."""

import platform
import socket
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from models.provenance import Provenance

_ROOT = Path(__file__).resolve().parents[2]


def provenance(device: torch.device, dataset_hash: str) -> Provenance:
    """Return what a run on `device` with data of that hash depends on."""
    return Provenance(
        device=device_name(device),
        device_uuid=device_uuid(device),
        dataset_hash=dataset_hash,
        threads=torch.get_num_threads(),
        host=socket.gethostname(),
        git_commit=git_commit(),
        **versions(),
    )


@cache
def versions() -> dict[str, Any]:
    """Return the versions that may change a figure."""
    return {
        "dq": version("dq"),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "cuda": torch.version.cuda if torch.cuda.is_available() else None,
    }


def describe() -> dict[str, Any]:
    """Return what torch sees here, for `dq doctor`."""
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {**versions(), "cpu": cpu_name(), "gpus": gpus}


def device_name(device: torch.device) -> str:
    """Return the device's model name."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name()


def device_uuid(device: torch.device) -> str | None:
    """Return the UUID of a GPU, as nvidia-smi writes it; None for a CPU."""
    if device.type != "cuda":
        return None
    return f"GPU-{torch.cuda.get_device_properties(device).uuid}"


@cache
def cpu_name() -> str:
    """Return the processor's model name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


@cache
def git_commit() -> str | None:
    """Return the commit of the checkout dq runs from; None where it runs from a wheel."""
    if not (_ROOT / ".git").exists():
        return None
    commit = _git("rev-parse", "HEAD")
    return f"{commit}-dirty" if commit and _git("status", "--porcelain") else commit


def _git(*arguments: str) -> str | None:
    # Without the lock this never disturbs the user's own git.
    command = ["git", "--no-optional-locks", "-C", str(_ROOT), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
