"""What a worker process keeps from job to job: its settings, its recorder, its stop flag."""

import logging
import os
import signal
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Event

import torch

from models.database import Database
from models.errors import DatasetUnavailable
from models.settings import Settings
from models.spec import ExperimentSpec
from worker.execution.recorder import Recorder
from worker.stop_signals import RELEASE_SIGNAL
from worker.training import engine
from worker.training.data.download import fetch
from worker.training.data.tensors import Data, load

logger = logging.getLogger(__name__)
_stopping = Event()


@dataclass(frozen=True)
class WorkerContext:
    """One process with one device; it runs one job after the other, or several of a shape."""

    recorder: Recorder
    data_dir: Path
    checkpoint_dir: Path
    device: torch.device
    #: How many jobs to train together: auto, off, or a largest number.
    pack: str
    #: Set once the worker was told to stop.
    stopping: Event

    def load(self, dataset: str) -> Data:
        """Return a data set on the device, from memory if an earlier job used it.

        Raises DatasetUnavailable if it is not here and cannot be downloaded, and DatasetCorrupt.
        """
        return _load(dataset, self.data_dir, self.device)

    def pack_size(self, spec: ExperimentSpec) -> int:
        """Return how many jobs of this shape to train together."""
        if self.pack == "off":
            return 1
        most = engine.pack_size(spec, self.device, _free_bytes(self.device) / 2)
        return most if self.pack == "auto" else min(most, int(self.pack))


def listen_for_release() -> None:
    """Have this process give its jobs back at the signal."""
    signal.signal(RELEASE_SIGNAL, lambda *_: _stopping.set())


@cache
def worker_context(name: str) -> WorkerContext:
    """Return this process' context, made from the environment at the first job."""
    settings = Settings.load()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    return WorkerContext(
        recorder=Recorder(Database(settings.sql_url), name, settings.lease_seconds),
        data_dir=settings.data_dir,
        checkpoint_dir=settings.checkpoints,
        device=torch.device("cuda" if torch.cuda.is_available() else "cpu"),
        pack=settings.pack,
        stopping=_stopping,
    )


def _free_bytes(device: torch.device) -> float:
    """Return this process's share of the memory that is free on the device."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info()[0]
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / (os.cpu_count() or 1)


@cache
def _load(dataset: str, data_dir: Path, device: torch.device) -> Data:
    """Load a data set; download it first if it is not here."""
    try:
        return load(dataset, data_dir, device)
    except DatasetUnavailable as error:
        logger.warning("%s Downloading it.", error)
        fetch(dataset, data_dir)
        return load(dataset, data_dir, device)
