"""Trains one run: dropped units are skipped, and on a CPU products go through oneDNN.

A unit that a mask drops in the whole batch contributes nothing: its row in its layer's weight, and
its column in the next layer's, are left out of the products, which are smaller and give the same.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from worker.training.data.tensors import Data
from worker.training.engine import products
from worker.training.engine.evaluation import Outputs
from worker.training.engine.masks import (
    Masks,
    draw_batch_masks,
    draw_sample_masks,
    skip_sample_masks,
)
from worker.training.engine.run import Run
from worker.training.reference import sgd

#: Kept units are padded to a multiple of this with dropped ones, whose weights count as 0: oneDNN
#: prepares itself once for each size of a product, which takes longer than the product.
_PADDED_TO = 16


@dataclass(frozen=True)
class _Units:
    """The indexes of the units that a batch keeps, alone and padded with some that it drops."""

    kept: Tensor
    padded: Tensor

    @classmethod
    def of_batches(cls, masks: Tensor) -> "list[_Units]":
        """Return those of each batch, by masks (batches, units); waits for the device."""
        kept_first = masks.logical_not().byte().argsort(dim=1, stable=True)
        return [
            cls(units[:count], units[: count + -count % _PADDED_TO])
            for units, count in zip(kept_first, masks.sum(1).tolist(), strict=True)
        ]


@dataclass(frozen=True)
class _Layer:
    """What the backward pass needs of a layer's forward pass; None is all units or inputs."""

    x: Tensor  # (images, padded inputs), of the operands' type
    weight: Tensor  # (padded units, padded inputs), fp32
    operand: Tensor  # the same in the operands' type
    units: _Units | None
    inputs: _Units | None


class SingleRun:
    """Trains one run batch by batch."""

    def __init__(self, run: Run, data: Data) -> None:
        self.runs = [run]
        self._run, self._spec, self._data = run, run.spec, data
        self._products = products.choose(run.spec.precision, data.device)
        self._dtype = products.operand_dtype(run.spec)
        self._weights, self._biases = run.parameters[::2], run.parameters[1::2]
        # With momentum a dropped unit's weights change, too: units are masked, not skipped.
        self._skips = run.spec.mask == "batch" and not run.velocities

    def begin_epoch(self) -> None:
        """Draw the epoch's random numbers."""
        self._run.begin_epoch()
        randomness = self._run.randomness
        self._order = randomness.draw_order(self._spec.images)
        self._masks: Masks = {}
        self._units: dict[int, list[_Units]] = {}
        if self._spec.mask == "sample":
            skip_sample_masks(self._spec, randomness.masks, self._run.batch)
            return
        masks = draw_batch_masks(self._spec, randomness.masks)
        if self._skips:
            self._units = {layer: _Units.of_batches(mask) for layer, mask in masks.items()}
        else:
            self._masks = masks

    @torch.inference_mode()
    def step(self) -> Outputs:
        """Train the next batch; return the network's outputs for it."""
        begin = self._run.batch * self._spec.batch_size
        indexes = self._order[begin : begin + self._spec.batch_size]
        y = self._data.train_y[indexes]
        logits, layers = self._forward(self._data.train_batch(indexes))
        gradient = _loss_gradient(logits, y).mul_(-self._run.lr / len(y))
        self._backward(layers, gradient)
        if self._spec.max_norm is not None:
            sgd.limit_norms(self._weights[:-1], self._spec.max_norm)
        return Outputs(logits[None], y[None])

    def _forward(self, x: Tensor) -> tuple[Tensor, list[_Layer]]:
        masks = self._batch_masks()
        units = {number: batches[self._run.batch] for number, batches in self._units.items()}
        x = _select(x, units[0], axis=1) if 0 in units else x
        x = (x * masks[0] if 0 in masks else x).to(self._dtype)
        layers = []
        for number, (weight, bias) in enumerate(zip(self._weights, self._biases, strict=True), 1):
            layer = self._prepare(x, weight, units.get(number), units.get(number - 1))
            layers.append(layer)
            selected = bias if layer.units is None else _select(bias, layer.units)
            x = self._products.forward(layer.x, layer.operand, selected.to(self._dtype))
            if number < len(self._weights):
                x = torch.relu_(x)
                x = x.mul_(masks[number]) if number in masks else x
        return x.float(), layers

    def _batch_masks(self) -> Masks:
        if self._spec.mask == "sample":
            return draw_sample_masks(self._spec, self._run.randomness.masks, self._run.batch)
        return {number: masks[self._run.batch] for number, masks in self._masks.items()}

    def _prepare(
        self, x: Tensor, weight: Tensor, units: _Units | None, inputs: _Units | None
    ) -> _Layer:
        weight = weight if units is None else _select(weight, units)
        weight = weight if inputs is None else weight.index_select(1, inputs.padded)
        return _Layer(x, weight, weight.to(self._dtype), units, inputs)

    def _backward(self, layers: list[_Layer], gradient: Tensor) -> None:
        """Descend `gradient` (images, classes), which is scaled by minus the rate."""
        gradient = gradient.to(self._dtype)
        for number in reversed(range(len(layers))):
            layer = layers[number]
            weight_step = self._products.weight_gradient(gradient, layer.x).float()
            bias_step = gradient.sum(0, dtype=torch.float32)
            if number:
                gradient = products.relu_backward(
                    self._products.input_gradient(gradient, layer.operand), layer.x
                )
            self._update(number, layer, weight_step, bias_step)

    def _update(self, number: int, layer: _Layer, weight_step: Tensor, bias_step: Tensor) -> None:
        weight, bias = self._weights[number], self._biases[number]
        if not self._run.velocities:
            _add_to_weight(weight, layer, weight_step)
            _add_to_rows(bias, layer.units, bias_step)
            return
        velocities = self._run.velocities[2 * number : 2 * number + 2]
        steps = zip((weight, bias), velocities, (weight_step, bias_step), strict=True)
        for parameter, velocity, step in steps:
            parameter.add_(velocity.mul_(self._spec.momentum).add_(step))


def _loss_gradient(logits: Tensor, y: Tensor) -> Tensor:
    """Return the gradient of the summed cross-entropy: softmax minus one-hot."""
    gradient = torch.softmax(logits, 1)
    gradient[torch.arange(len(y), device=y.device), y] -= 1
    return gradient


def _select(tensor: Tensor, units: _Units, axis: int = 0) -> Tensor:
    """Return what the kept units have, and zeros for the padding."""
    kept, padded = len(units.kept), len(units.padded)
    selected = tensor.index_select(axis, units.padded)
    selected.narrow(axis, kept, padded - kept).zero_()
    return selected


def _add_to_weight(weight: Tensor, layer: _Layer, step: Tensor) -> None:
    """Add a step to the weights between the kept inputs and the kept units."""
    if layer.inputs is None:
        _add_to_rows(weight, layer.units, step)
        return
    moved = layer.weight.add_(step)
    if layer.units is None:
        weight.index_copy_(1, layer.inputs.padded, moved)
        return
    rows = weight.index_select(0, layer.units.kept)
    rows.index_copy_(1, layer.inputs.padded, moved[: len(rows)])
    weight.index_copy_(0, layer.units.kept, rows)


def _add_to_rows(parameter: Tensor, units: _Units | None, step: Tensor) -> None:
    if units is None:
        parameter.add_(step)
    else:
        parameter.index_add_(0, units.kept, step[: len(units.kept)])
