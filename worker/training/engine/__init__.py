"""The fast trainer, which workers run; tests hold it to the readable one in `reference/`."""

from worker.training.engine.capacity import is_packable, pack_size
from worker.training.engine.run import Run, restore, snapshot, start
from worker.training.engine.trainer import Divergence, train

__all__ = [
    "Divergence",
    "Run",
    "is_packable",
    "pack_size",
    "restore",
    "snapshot",
    "start",
    "train",
]
