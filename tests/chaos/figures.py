"""The metrics of jobs, and those of the same trainings undisturbed."""

from pathlib import Path
from typing import Any

from models.spec import ExperimentSpec

Figures = list[tuple[float, float, float, float]]


def figures_of(row: Any) -> tuple[float, float, float, float]:
    """Return the metrics of an epoch or a result."""
    return row.train_loss, row.train_accuracy, row.valid_loss, row.valid_accuracy


def train_undisturbed(spec: ExperimentSpec) -> Figures:
    """Train a spec here, without queue, database or fault."""
    import torch

    from worker.training import engine
    from worker.training.data.tensors import load

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        data = load(spec.dataset, Path("nowhere"), "cpu")
        run = engine.start(spec, data, "cpu")
        return [figures_of(metrics) for _, metrics in engine.train({0: run}, data)]
    finally:
        torch.set_num_threads(threads)
