"""The checkpoints of one attempt: when to write one, which to keep, where to resume."""

import logging
import re
import time
from pathlib import Path

import torch

from worker.execution.claims import Claim
from worker.training import checkpoint, engine
from worker.training.checkpoint import CheckpointUnreadable
from worker.training.data.tensors import Data

logger = logging.getLogger(__name__)
_NAME = re.compile(r"\d+/\d+-\d+-\d+")
#: Between two checkpoints a run trains at least this many times as long as the last one took.
_TRAINING_PER_SAVING = 20
#: The assumed cost of the first one, so that a run of under a second writes none.
_FIRST_COST_SECONDS = 0.05


class Checkpoints:
    """The files of one attempt, `<job>/<attempt>-<epoch>-<batch>` under the checkpoint folder.

    Each is a new file: the one that SQL points to stays until SQL points to the next.
    """

    def __init__(self, folder: Path, claim: Claim) -> None:
        self._folder, self._claim = folder, claim
        self._cost = _FIRST_COST_SECONDS
        self._saved_at = time.monotonic()

    def resume(self, data: Data, device: torch.device) -> engine.Run:
        """Return a run that resumes from the job's checkpoint, or else starts from scratch."""
        spec = self._claim.spec
        if self._claim.checkpoint:
            try:
                snapshot = checkpoint.load(self._find(self._claim.checkpoint), spec)
                return engine.restore(spec, data, device, snapshot)
            except (FileNotFoundError, CheckpointUnreadable) as error:
                self._warn("starts from scratch", error)
        return engine.start(spec, data, device)

    def _find(self, name: str) -> Path:
        """Return a checkpoint's file; a path outside the folder is refused, whatever SQL says."""
        if not _NAME.fullmatch(name):
            raise CheckpointUnreadable(f"{name!r} is no name of a checkpoint")
        return self._folder / name

    def is_due(self, run: engine.Run) -> bool:
        """Whether a checkpoint at the end of this epoch is worth what it costs."""
        if run.epoch == self._claim.spec.epochs:
            return self._claim.keep_checkpoint
        return time.monotonic() - self._saved_at >= _TRAINING_PER_SAVING * self._cost

    def save(self, run: engine.Run) -> str | None:
        """Write a checkpoint; return its name, or None if it cannot be written."""
        name = f"{self._claim.job_id}/{self._claim.attempt}-{run.epoch}-{run.batch}"
        path = self._folder / name
        began = time.monotonic()
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            checkpoint.save(path, self._claim.spec, engine.snapshot(run))
        except OSError as error:
            self._warn("goes on without a checkpoint", error)
            return None
        finally:
            self._saved_at = time.monotonic()
            self._cost = self._saved_at - began
        return name

    def prune(self, *kept: str | None) -> None:
        """Remove this job's checkpoints but for those named and those of later attempts.

        The half of one that a killed process left goes, too.
        """
        folder = self._folder / str(self._claim.job_id)
        try:
            for path in folder.glob("*-*-*"):
                attempt = int(path.name.partition("-")[0])
                if attempt <= self._claim.attempt and f"{folder.name}/{path.name}" not in kept:
                    path.unlink(missing_ok=True)
            if not any(kept) and folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
        except (OSError, ValueError) as error:
            self._warn("leaves checkpoints behind", error)

    def _warn(self, what: str, error: Exception) -> None:
        logger.warning("%s: %s: %s", self._claim, what, error, extra=self._claim.ids)
