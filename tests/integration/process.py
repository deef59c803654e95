"""A worker's process within a test, and when it is told to stop."""

import itertools
import threading
from pathlib import Path

import torch

from integration import rows
from worker.execution import runner
from worker.execution.context import WorkerContext
from worker.execution.recorder import Recorder


class StopBefore(threading.Event):
    """A worker's stop flag that is set right before a batch, counted from 0."""

    def __init__(self, batch: int) -> None:
        super().__init__()
        self._looks = itertools.count()
        self._batch = batch

    def is_set(self) -> bool:
        return next(self._looks) >= self._batch


def make_process(recorder: Recorder, folder: Path, pack: str) -> WorkerContext:
    return WorkerContext(
        recorder=recorder,
        data_dir=folder / "data",
        checkpoint_dir=folder / "checkpoints",
        device=torch.device("cpu"),
        pack=pack,
        stopping=threading.Event(),
    )


def run(process: WorkerContext, job_id: int) -> None:
    """Run a queued job, and others of its shape with it, whichever is next in the queue."""
    runner.run(rows.claim_pack(process.recorder, job_id, process.pack_size), process)
