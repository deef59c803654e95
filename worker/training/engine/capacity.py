"""How many runs of a shape a device trains together, and whether as a batch of runs.

That depends on the shape and the kind of device alone, so that the metrics do, too.
"""

from itertools import pairwise

import torch

from models.spec import ExperimentSpec
from worker.training.engine.masks import layer_widths

#: The most images a batch, times units a layer, of runs that a CPU trains as a batch of runs, be it
#: of one; larger ones gain more by oneDNN and by skipping dropped units.
_BATCHED_SIZE = 2**15
#: On a GPU, fp32 products of this width take so long that skipping dropped units pays.
_SKIPPING_WIDTH = 4096
#: On a CPU, training several runs together gains nothing if their layers are wider.
_PACKED_WIDTH = 256
#: MKL gives each matrix of a batched product the bits that it has alone only if each starts at
#: a whole cache line, of 16 numbers.
_LINE = 16
#: More runs than these do not fit a CPU's caches.
_MOST_ON_CPU = 16
#: The slots of a batch of runs on a GPU, by the size of its largest layer: units, times units or
#: images a batch, whichever are more. A run of larger layers keeps a GPU busy alone.
_GPU_SLOTS = {2**15: 64, 2**18: 8}


def is_batched(spec: ExperimentSpec, device: torch.device) -> bool:
    """Whether runs of this shape are trained as a batch of runs, be it of one."""
    if device.type == "cuda":
        return spec.precision != "fp32" or max(spec.hidden) < _SKIPPING_WIDTH
    return spec.batch_size * max(spec.hidden) <= _BATCHED_SIZE


def slots(spec: ExperimentSpec, device: torch.device) -> int:
    """Return the least size of a batch of runs; the last run fills the slots that are left.

    On a GPU the size is fixed, since a run's bits depend on how many runs a product has.
    """
    if device.type == "cpu":
        return 1
    width = max(spec.hidden)
    size = max(spec.batch_size, width) * width
    return next((slots for limit, slots in _GPU_SLOTS.items() if size <= limit), 1)


def is_packable(spec: ExperimentSpec, device: torch.device) -> bool:
    """Whether training several runs of this shape together pays, and changes no bit of any."""
    if device.type == "cuda":
        return slots(spec, device) > 1
    fits = all(width <= _PACKED_WIDTH and width % _LINE == 0 for width in spec.hidden)
    return is_batched(spec, device) and fits


def pack_size(spec: ExperimentSpec, device: torch.device, free_bytes: float) -> int:
    """Return how many runs of this shape to train together, at most, in that much memory."""
    if not is_packable(spec, device):
        return 1
    most = slots(spec, device) if device.type == "cuda" else _MOST_ON_CPU
    return max(1, min(most, int(free_bytes // _bytes_per_run(spec))))


def _bytes_per_run(spec: ExperimentSpec) -> int:
    """Return the memory of one run: parameters, activations, an epoch's order and masks."""
    widths = layer_widths(spec)
    parameters = sum(fan_in * fan_out for fan_in, fan_out in pairwise(widths))
    activations = spec.batch_size * sum(widths)
    random = 8 * spec.images + spec.batches * sum(widths)
    # Parameters twice: runs still have their own while a batch is stacked; and for gradients.
    return 4 * (2 * parameters * (2 if spec.momentum else 1) + 3 * activations) + random
