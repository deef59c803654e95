"""What a run draws: the order of the images for an epoch, and what dropout drops.

The random numbers are those of `reference/trainer.py`, drawn an epoch at a time: a stream
drawn in parts equals the whole on a CPU. A test holds the two together.
"""

import math

import torch
from torch import Tensor

from models.datasets import DATASETS
from models.spec import ExperimentSpec


def widths(spec: ExperimentSpec) -> tuple[int, ...]:
    """Return how wide each layer is whose activations may be dropped, the features' first."""
    return (DATASETS[spec.dataset].features, *spec.hidden)


def keeps(spec: ExperimentSpec) -> tuple[float, ...]:
    """Return each layer's keep probability, the features' first."""
    return (spec.input_keep, *spec.keep)


def rows(spec: ExperimentSpec, batch: int) -> int:
    """Return how many images a batch of the epoch has, counted from 0: the last may have fewer."""
    return min(spec.batch_size, spec.images - batch * spec.batch_size)


def draw_order(spec: ExperimentSpec, generator: torch.Generator) -> Tensor:
    """Return an epoch's permutation of the images (images,)."""
    return torch.randperm(spec.images, generator=generator, device=generator.device)


def draw_batch_masks(spec: ExperimentSpec, generator: torch.Generator) -> dict[int, Tensor]:
    """Return for each layer that drops the masks of an epoch's batches (batches, width)."""
    dropping = _dropping(spec)
    units = sum(width for width, _ in dropping.values())
    drawn = torch.rand(spec.batches, units, generator=generator, device=generator.device)
    parts = torch.split(drawn, [width for width, _ in dropping.values()], dim=1)
    return _compare(dropping, parts)


def draw_sample_masks(
    spec: ExperimentSpec, generator: torch.Generator, batch: int
) -> dict[int, Tensor]:
    """Return for each layer that drops the masks of a batch's images (images, width)."""
    dropping = _dropping(spec)
    shapes = [(rows(spec, batch), width) for width, _ in dropping.values()]
    sizes = [math.prod(shape) for shape in shapes]
    drawn = torch.rand(sum(sizes), generator=generator, device=generator.device)
    pieces = torch.split(drawn, sizes)
    parts = [piece.view(shape) for piece, shape in zip(pieces, shapes, strict=True)]
    return _compare(dropping, tuple(parts))


def skip_sample_masks(spec: ExperimentSpec, generator: torch.Generator, batches: int) -> None:
    """Draw, for nothing, the masks of an epoch's first batches."""
    for batch in range(batches):
        draw_sample_masks(spec, generator, batch)


def _dropping(spec: ExperimentSpec) -> dict[int, tuple[int, float]]:
    """Return the width and the keep probability of each layer that drops, by its number."""
    layers = zip(widths(spec), keeps(spec), strict=True)
    return {layer: (width, keep) for layer, (width, keep) in enumerate(layers) if keep < 1}


def _compare(
    dropping: dict[int, tuple[int, float]], drawn: tuple[Tensor, ...]
) -> dict[int, Tensor]:
    pairs = zip(dropping.items(), drawn, strict=True)
    return {layer: part < keep for (layer, (_, keep)), part in pairs}
