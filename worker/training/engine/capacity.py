"""How many runs of a shape a device trains together, and whether as one batched program.

All of it depends on the shape and the kind of device alone, so that the figures do, too.
"""

from itertools import pairwise

import torch

from models.spec import ExperimentSpec
from worker.training.engine.masks import layer_widths

#: On a CPU, runs of fewer images a batch times units a layer are trained as a batched program, also
#: alone; larger ones gain more by oneDNN and by skipping what is dropped.
_BATCHED_SIZE = 2**15
#: On a GPU, fp32 products as wide as this take so long that it pays to leave out what is dropped.
_SKIPPING_WIDTH = 4096
#: Training several together gains nothing on a CPU if their layers are wider.
_PACKED_WIDTH = 256
#: Only where each matrix of a batched product begins at a whole cache line of 16 numbers do all of
#: them come out of MKL with the bits that each has alone.
_LINE = 16
#: More runs than these no longer fit a CPU's caches.
_MOST_ON_CPU = 16
#: How many slots a batched program has on a GPU, by how large its layers are at most: units, times
#: units or images a batch, whichever are more. Of larger ones a lone run keeps a GPU busy.
_GPU_SLOTS = {2**15: 64, 2**18: 8}


def is_batched(spec: ExperimentSpec, device: torch.device) -> bool:
    """Whether runs of this shape are trained as a batched program, be it of one run."""
    if device.type == "cuda":
        return spec.precision != "fp32" or max(spec.hidden) < _SKIPPING_WIDTH
    return spec.batch_size * max(spec.hidden) <= _BATCHED_SIZE


def slots(spec: ExperimentSpec, device: torch.device) -> int:
    """Return for how many runs a batched program always has room; the last run fills the rest.

    On a GPU a run's bits depend on how many there are in a product, so that number is fixed.
    """
    if device.type == "cpu":
        return 1
    width = max(spec.hidden)
    size = max(spec.batch_size, width) * width
    return next((slots for limit, slots in _GPU_SLOTS.items() if size <= limit), 1)


def is_packable(spec: ExperimentSpec, device: torch.device) -> bool:
    """Whether it pays to train several runs of this shape together, and changes no figure."""
    if device.type == "cuda":
        return slots(spec, device) > 1
    fits = all(width <= _PACKED_WIDTH and width % _LINE == 0 for width in spec.hidden)
    return is_batched(spec, device) and fits


def pack_size(spec: ExperimentSpec, device: torch.device, free_bytes: float) -> int:
    """Return how many runs of this shape are best trained together in that much memory."""
    if not is_packable(spec, device):
        return 1
    most = slots(spec, device) if device.type == "cuda" else _MOST_ON_CPU
    return max(1, min(most, int(free_bytes // _bytes_of(spec))))


def _bytes_of(spec: ExperimentSpec) -> int:
    """Return what one run of a batch takes: parameters, activations, and an epoch's masks."""
    widths = layer_widths(spec)
    parameters = sum(fan_in * fan_out for fan_in, fan_out in pairwise(widths))
    activations = spec.batch_size * sum(widths)
    drawn = 8 * spec.images + spec.batches * sum(widths)
    # Twice for batches that are made while their parts still stand, and for gradients.
    return 4 * (2 * parameters * (2 if spec.momentum else 1) + 3 * activations) + drawn
