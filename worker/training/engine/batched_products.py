"""The matrix products of a layer of a batch of runs, and of its gradients.

Weights are (runs, units, inputs), biases (runs, units), gradients (runs, images, units). Inputs
are (groups, images, inputs): a group is of neighbouring runs that have the same input. A run's
slice of a product has the bits of its product alone, with any other runs in the batch.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor

from worker.training.engine.products import OneDnn


class BatchedProducts(Protocol):
    """What one training step needs of a layer."""

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Return x W' + b (runs, images, units)."""

    def input_gradient(self, gradient: Tensor, weight: Tensor) -> Tensor:
        """Return the gradient by the input, g W (runs, images, inputs)."""

    def add_weight_gradient(self, target: Tensor, gradient: Tensor, x: Tensor) -> None:
        """Add the gradient by the weight, g' x, to `target` (runs, units, inputs)."""


class Batched:
    """One batched product for all runs, each with an input of its own."""

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Return x W' + b."""
        if x.is_cuda and len(x) == 1:
            # Of one product, cuBLAS adds the bias as it goes.
            return torch.addmm(bias[0], x[0], weight[0].t()).unsqueeze(0)
        return torch.baddbmm(bias.unsqueeze(1), x, weight.transpose(1, 2))

    def input_gradient(self, gradient: Tensor, weight: Tensor) -> Tensor:
        """Return g W."""
        return torch.bmm(gradient, weight)

    def add_weight_gradient(self, target: Tensor, gradient: Tensor, x: Tensor) -> None:
        """Add g' x, within the product itself where the types allow it."""
        left = gradient.transpose(1, 2)
        if left.dtype == target.dtype:
            target.baddbmm_(left, x)
        elif target.is_cuda:
            torch.baddbmm(target, left, x, out_dtype=target.dtype, out=target)
        else:
            target.add_(torch.bmm(left, x))


class Shared(Batched):
    """A batched product for each group, whose runs share an input without copying it."""

    def __init__(self, groups: Sequence[slice]) -> None:
        self._groups = groups

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Return x W' + b."""
        runs, units, _ = weight.shape
        out = x.new_empty(runs, x.shape[1], units)
        for group, inputs in self._share(x):
            own, columns = bias[group].unsqueeze(1), weight[group].transpose(1, 2)
            torch.baddbmm(own, inputs, columns, out=out[group])
        return out

    def add_weight_gradient(self, target: Tensor, gradient: Tensor, x: Tensor) -> None:
        """Add g' x."""
        for group, inputs in self._share(x):
            super().add_weight_gradient(target[group], gradient[group], inputs)

    def _share(self, x: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Return each group, and its input (runs of the group, images, inputs)."""
        for mine, group in zip(x, self._groups, strict=True):
            yield group, mine.expand(group.stop - group.start, -1, -1)


class Grouped:
    """A product through oneDNN for each group, as if its runs' units were those of one layer."""

    def __init__(self, groups: Sequence[slice]) -> None:
        self._groups = groups
        self._products = OneDnn()

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Return x W' + b."""
        runs, units, _ = weight.shape
        out = x.new_empty(runs, x.shape[1], units)
        for mine, group in zip(x, self._groups, strict=True):
            merged = weight[group].flatten(0, 1), bias[group].flatten()
            wide = self._products.forward(mine, *merged)  # (images, runs of the group * units)
            out[group] = wide.view(len(mine), -1, units).transpose(0, 1)
        return out

    def input_gradient(self, gradient: Tensor, weight: Tensor) -> Tensor:
        """Return g W, run by run."""
        pairs = zip(gradient, weight, strict=True)
        return torch.stack([self._products.input_gradient(*pair) for pair in pairs])

    def add_weight_gradient(self, target: Tensor, gradient: Tensor, x: Tensor) -> None:
        """Add g' x."""
        # Transposed for all at once: oneDNN copies a left operand that is not in order.
        rows = gradient.transpose(1, 2).contiguous()  # (runs, units, images)
        for mine, group in zip(x, self._groups, strict=True):
            step = self._products.weight_gradient(rows[group].flatten(0, 1).t(), mine)
            target[group].add_(step.view_as(target[group]))
