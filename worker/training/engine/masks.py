"""The dropout masks of an epoch or of a batch, with the random numbers of `reference/dropout.py`.

An epoch's masks are drawn at once: on a CPU, a random stream is the same drawn in parts or whole.
"""

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from models.datasets import DATASETS
from models.spec import ExperimentSpec

#: Where True, the activation is kept; by the number of the layer, 0 being the features.
Masks = dict[int, Tensor]


def layer_widths(spec: ExperimentSpec) -> tuple[int, ...]:
    """Return the width of each layer that dropout can follow, the features first."""
    return (DATASETS[spec.dataset].features, *spec.hidden)


def layer_keeps(spec: ExperimentSpec) -> tuple[float, ...]:
    """Return each layer's keep probability, the features first."""
    return (spec.input_keep, *spec.keep)


def batch_rows(spec: ExperimentSpec, batch: int) -> int:
    """Return how many images a batch of the epoch has, counted from 0; the last may have fewer."""
    return min(spec.batch_size, spec.images - batch * spec.batch_size)


def draw_batch_masks(spec: ExperimentSpec, generator: torch.Generator) -> Masks:
    """Return the masks (batches, width) of an epoch's batches, for each layer with dropout."""
    layers = _dropout_layers(spec)
    widths = [width for width, _ in layers.values()]
    shape = spec.batches, sum(widths)
    drawn = torch.rand(shape, generator=generator, device=generator.device)
    return _compare(layers, torch.split(drawn, widths, dim=1))


def draw_sample_masks(spec: ExperimentSpec, generator: torch.Generator, batch: int) -> Masks:
    """Return the masks (images, width) of a batch's images, for each layer with dropout."""
    layers, rows = _dropout_layers(spec), batch_rows(spec, batch)
    shapes = [(rows, width) for width, _ in layers.values()]
    sizes = [math.prod(shape) for shape in shapes]
    drawn = torch.rand(sum(sizes), generator=generator, device=generator.device)
    parts = zip(torch.split(drawn, sizes), shapes, strict=True)
    return _compare(layers, [part.view(shape) for part, shape in parts])


def skip_sample_masks(spec: ExperimentSpec, generator: torch.Generator, batches: int) -> None:
    """Advance the generator past the masks of an epoch's first batches."""
    for batch in range(batches):
        draw_sample_masks(spec, generator, batch)


def _dropout_layers(spec: ExperimentSpec) -> dict[int, tuple[int, float]]:
    """Return the width and the keep probability of each layer with dropout, by its number."""
    layers = zip(layer_widths(spec), layer_keeps(spec), strict=True)
    return {number: (width, keep) for number, (width, keep) in enumerate(layers) if keep < 1}


def _compare(layers: Mapping[int, tuple[int, float]], drawn: Iterable[Tensor]) -> Masks:
    pairs = zip(layers.items(), drawn, strict=True)
    return {number: part < keep for (number, (_, keep)), part in pairs}
