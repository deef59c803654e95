"""The fast trainer: what workers run, held by tests to the readable one in `reference/`."""

from worker.training.engine.capacity import is_packable, most_together
from worker.training.engine.run import Run, restore, snapshot, start
from worker.training.engine.trainer import train, train_alone

__all__ = [
    "Run",
    "is_packable",
    "most_together",
    "restore",
    "snapshot",
    "start",
    "train",
    "train_alone",
]
