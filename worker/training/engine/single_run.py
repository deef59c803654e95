"""One run, batch by batch: dropped units are skipped, and on a CPU products go through oneDNN.

A unit that a mask drops from the whole batch contributes nothing: its row of its own layer's
weight, and its column of the next layer's, are left out of the products, which are smaller with the
same result.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from worker.training.data.tensors import Data
from worker.training.engine import products
from worker.training.engine.evaluation import Outputs
from worker.training.engine.masks import draw_batch_masks, draw_sample_masks, skip_sample_masks
from worker.training.engine.run import Run
from worker.training.reference import sgd

#: The number of kept units is rounded up to a multiple of this by dropped ones, whose weights count
#: as 0:
#: oneDNN prepares itself once for each size of a product, which takes longer than the product.
_GRAIN = 16


@dataclass(frozen=True)
class _Kept:
    """The units that take part: the kept ones, then some that round up their number."""

    units: Tensor
    real: int

    @classmethod
    def of(cls, masks: Tensor) -> "list[_Kept]":
        """Return what each batch keeps by masks (batches, units), which waits for the device."""
        kept_first = masks.logical_not().byte().argsort(dim=1, stable=True)
        return [
            cls(units[: real + -real % _GRAIN], real)
            for units, real in zip(kept_first, masks.sum(1).tolist(), strict=True)
        ]


@dataclass(frozen=True)
class _Layer:
    """What the backward pass needs of a layer's forward pass."""

    x: Tensor  # (images, kept inputs), of the operands' type
    weight: Tensor  # (kept units, kept inputs), fp32
    operand: Tensor  # the same in the operands' type
    rows: _Kept | None  # the kept units; None is all of them
    columns: _Kept | None  # the kept inputs


class SingleRun:
    """Trains one run."""

    def __init__(self, runs: list[Run], data: Data) -> None:
        (self._run,) = self.runs = runs
        self._data = data
        self._products = products.choose(self._run.spec.precision, data.device)
        self._dtype = products.dtype(self._run.spec)
        self._weights, self._biases = self._run.parameters[::2], self._run.parameters[1::2]
        # With momentum a dropped unit's weights change, too: units are masked, and not skipped.
        self._skips = self._run.spec.mask == "batch" and not self._run.velocities
        self._order = torch.empty(0)
        self._masks: dict[int, Tensor] = {}
        self._kept: dict[int, list[_Kept]] = {}

    def begin_epoch(self) -> None:
        """Draw the epoch's random numbers."""
        run, spec = self._run, self._run.spec
        run.begin_epoch()
        self._order = run.randomness.draw_order(spec.images)
        if spec.mask == "batch":
            self._masks = draw_batch_masks(spec, run.randomness.masks)
            if self._skips:
                self._kept = {layer: _Kept.of(masks) for layer, masks in self._masks.items()}
        else:
            skip_sample_masks(spec, run.randomness.masks, run.batch)

    @torch.inference_mode()
    def step(self) -> Outputs:
        """Train the next batch; return the network's outputs for it."""
        spec, batch = self._run.spec, self._run.batch
        indexes = self._order[batch * spec.batch_size :][: spec.batch_size]
        y = self._data.train_y[indexes]
        logits, layers = self._forward(self._data.train_batch(indexes))
        gradient = _differentiate(logits, y).mul_(-self._run.lr / len(y))
        self._backward(layers, gradient)
        if spec.max_norm is not None:
            sgd.limit_norms(self._weights[:-1], spec.max_norm)
        return Outputs(logits[None], y[None])

    def retain(self, runs: list[Run]) -> None:
        """Continue with these of its runs only."""
        raise NotImplementedError("a single run has no neighbours")

    def _forward(self, x: Tensor) -> tuple[Tensor, list[_Layer]]:
        masks = self._pick_masks()
        kept = {layer: batches[self._run.batch] for layer, batches in self._kept.items()}
        x = self._drop(0, x, masks, kept).to(self._dtype)
        layers = []
        last = len(self._weights) - 1
        for number, (weight, bias) in enumerate(zip(self._weights, self._biases, strict=True)):
            layer = self._prepare(x, weight, kept.get(number + 1), kept.get(number))
            layers.append(layer)
            units = bias if layer.rows is None else _select(bias, layer.rows)
            x = self._products.forward(layer.x, layer.operand, units.to(self._dtype))
            if number < last:
                x = self._mask(number + 1, torch.relu_(x), masks)
        return x.float(), layers

    def _pick_masks(self) -> dict[int, Tensor]:
        spec, run = self._run.spec, self._run
        if spec.mask == "sample":
            return draw_sample_masks(spec, run.randomness.masks, run.batch)
        return {layer: masks[run.batch] for layer, masks in self._masks.items()}

    def _drop(
        self, layer: int, x: Tensor, masks: dict[int, Tensor], kept: dict[int, _Kept]
    ) -> Tensor:
        if layer in kept:
            x = x.index_select(1, kept[layer].units)
            x[:, kept[layer].real :] = 0
            return x
        return x * masks[layer] if layer in masks else x

    def _mask(self, layer: int, x: Tensor, masks: dict[int, Tensor]) -> Tensor:
        """Drop activations that were not skipped."""
        return x if self._skips or layer not in masks else x.mul_(masks[layer])

    def _prepare(
        self, x: Tensor, weight: Tensor, rows: _Kept | None, columns: _Kept | None
    ) -> _Layer:
        kept = weight if rows is None else _select(weight, rows)
        kept = kept if columns is None else kept.index_select(1, columns.units)
        return _Layer(x, kept, kept.to(self._dtype), rows, columns)

    def _backward(self, layers: list[_Layer], gradient: Tensor) -> None:
        gradient = gradient.to(self._dtype)
        for number in reversed(range(len(layers))):
            layer = layers[number]
            step = self._products.weight_gradient(gradient, layer.x).float()
            bias_step = gradient.sum(0, dtype=torch.float32)
            if number:
                gradient = products.relu_backward(
                    self._products.input_gradient(gradient, layer.operand), layer.x
                )
            self._update(number, layer, step, bias_step)

    def _update(self, number: int, layer: _Layer, step: Tensor, bias_step: Tensor) -> None:
        """Add what `gradient` was scaled for: minus the rate times the gradient."""
        weight, bias = self._weights[number], self._biases[number]
        if self._run.velocities:
            velocities = self._run.velocities[2 * number : 2 * number + 2]
            for parameter, velocity, moved in zip(
                (weight, bias), velocities, (step, bias_step), strict=True
            ):
                parameter.add_(velocity.mul_(self._run.spec.momentum).add_(moved))
            return
        _scatter(weight, layer, step)
        if layer.rows is None:
            bias.add_(bias_step)
        else:
            real = layer.rows.real
            bias.index_add_(0, layer.rows.units[:real], bias_step[:real])


def _differentiate(logits: Tensor, y: Tensor) -> Tensor:
    """Return the gradient of the summed cross-entropy: softmax minus one-hot."""
    gradient = torch.softmax(logits, 1)
    gradient[torch.arange(len(y), device=y.device), y] -= 1
    return gradient


def _select(parameter: Tensor, kept: _Kept) -> Tensor:
    """Return the kept rows of a parameter, and zeros for those that round up their number."""
    selected = parameter.index_select(0, kept.units)
    selected[kept.real :] = 0
    return selected


def _scatter(weight: Tensor, layer: _Layer, step: Tensor) -> None:
    """Add a step to the kept rows and columns of a weight."""
    real = None if layer.rows is None else layer.rows.real
    rows = None if layer.rows is None else layer.rows.units[:real]
    if layer.columns is None:
        _ = weight.add_(step) if rows is None else weight.index_add_(0, rows, step[:real])
        return
    moved = layer.weight.add_(step)[:real]
    if rows is None:
        weight.index_copy_(1, layer.columns.units, moved)
    else:
        whole = weight.index_select(0, rows).index_copy_(1, layer.columns.units, moved)
        weight.index_copy_(0, rows, whole)
