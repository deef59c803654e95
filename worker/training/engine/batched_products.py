"""The matrix products of a layer, and of its gradients, for a batch of runs.

Weights are (runs, units, inputs), biases (runs, units), gradients (runs, images, units). Inputs
are (groups, images, inputs): a group is of neighbouring runs that have the same input. A run's
slice of a product has the bits of the run's product alone, whatever other runs are in the batch.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from worker.training.engine.products import OneDnnProducts


class BatchedProducts:
    """One batched product for all runs, each with its own input."""

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Return x W' + b, (runs, images, units)."""
        if x.is_cuda and len(x) == 1:
            # A single product of cuBLAS adds the bias itself.
            return torch.addmm(bias[0], x[0], weight[0].t()).unsqueeze(0)
        return torch.baddbmm(bias.unsqueeze(1), x, weight.transpose(1, 2))

    def input_gradient(self, gradient: Tensor, weight: Tensor) -> Tensor:
        """Return the gradient with respect to the input, g W, (runs, images, inputs)."""
        return torch.bmm(gradient, weight)

    def add_weight_gradient(self, target: Tensor, gradient: Tensor, x: Tensor) -> None:
        """Add the gradient with respect to the weight, g' x, to `target` (runs, units, inputs)."""
        left = gradient.transpose(1, 2)
        # Where the types allow it, the product itself adds to the target.
        if left.dtype == target.dtype:
            target.baddbmm_(left, x)
        elif target.is_cuda:
            torch.baddbmm(target, left, x, out_dtype=target.dtype, out=target)
        else:
            target.add_(torch.bmm(left, x))


class SharedInputProducts(BatchedProducts):
    """One batched product for each group, whose runs read one copy of their input."""

    def __init__(self, groups: Sequence[slice]) -> None:
        self._groups = groups

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Return x W' + b."""
        out = x.new_empty(len(weight), x.shape[1], weight.shape[1])
        for group, inputs in self._expand(x):
            columns = weight[group].transpose(1, 2)
            torch.baddbmm(bias[group].unsqueeze(1), inputs, columns, out=out[group])
        return out

    def add_weight_gradient(self, target: Tensor, gradient: Tensor, x: Tensor) -> None:
        """Add g' x."""
        for group, inputs in self._expand(x):
            super().add_weight_gradient(target[group], gradient[group], inputs)

    def _expand(self, x: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Return each group with its input, (runs of the group, images, inputs), not copied."""
        for inputs, group in zip(x, self._groups, strict=True):
            yield group, inputs.expand(group.stop - group.start, -1, -1)


class ConcatenatedProducts(BatchedProducts):
    """One product by oneDNN for each group, its runs' units concatenated into one layer."""

    def __init__(self, groups: Sequence[slice]) -> None:
        self._groups = groups
        self._products = OneDnnProducts()

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Return x W' + b."""
        runs, units, _ = weight.shape
        out = x.new_empty(runs, x.shape[1], units)
        for inputs, group in zip(x, self._groups, strict=True):
            layer = weight[group].flatten(0, 1), bias[group].flatten()
            wide = self._products.forward(inputs, *layer)  # (images, runs of the group * units)
            out[group] = wide.view(len(inputs), -1, units).transpose(0, 1)
        return out

    def input_gradient(self, gradient: Tensor, weight: Tensor) -> Tensor:
        """Return g W, run by run."""
        return torch.stack(list(map(self._products.input_gradient, gradient, weight)))

    def add_weight_gradient(self, target: Tensor, gradient: Tensor, x: Tensor) -> None:
        """Add g' x."""
        # Transposed for all at once: oneDNN copies a left operand that is not contiguous.
        rows = gradient.transpose(1, 2).contiguous()  # (runs, units, images)
        for inputs, group in zip(x, self._groups, strict=True):
            step = self._products.weight_gradient(rows[group].flatten(0, 1).t(), inputs)
            target[group].add_(step.view_as(target[group]))
