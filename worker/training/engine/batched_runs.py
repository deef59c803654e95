"""Trains a batch of runs of one shape at once: their weights are stacked.

The first axis of each tensor is the run. Each run has its own images, masks, rates and limits, and
a slice of a batched product has the bits of the same product alone: so a run's metrics are the same
with any other runs, and with none. On a GPU that holds only for a fixed number of slices: there all
batches of a shape have the same number of slots, and the last run fills those left.
"""

import math
from collections.abc import Sequence
from itertools import accumulate, groupby, pairwise
from typing import TypeVar

import torch
from torch import Tensor

from models.datasets import DATASETS
from models.spec import ExperimentSpec
from worker.training.data.tensors import Data
from worker.training.engine import capacity, products
from worker.training.engine.batched_products import (
    BatchedProducts,
    ConcatenatedProducts,
    SharedInputProducts,
)
from worker.training.engine.cuda_graph import CudaGraph
from worker.training.engine.evaluation import Outputs
from worker.training.engine.masks import (
    Masks,
    batch_rows,
    draw_batch_masks,
    draw_sample_masks,
    layer_widths,
    skip_sample_masks,
)
from worker.training.engine.run import Run
from worker.training.reference import sgd

#: On a CPU in fp32, products of this many multiplications a run or more go through oneDNN one by
#: one; batching pays for smaller ones, which take less time than a call. With AVX2 and no more,
#: which MKL uses on every processor, all are batched.
_ONEDNN_SIZE = math.inf if torch.backends.cpu.get_cpu_capability() == "AVX2" else 2**21

T = TypeVar("T")


class BatchedRuns:
    """Trains runs that are at the same batch of their epochs; their parameters become views."""

    def __init__(self, runs: list[Run], data: Data) -> None:
        self._data, self._spec = data, runs[0].spec
        self._device = data.device
        self._uses_onednn = _find_onednn_layers(self._spec, self._device)
        self._dtype = products.operand_dtype(self._spec)
        classes = torch.eye(DATASETS[self._spec.dataset].classes, device=self._device)
        self._one_hot = classes.index_select(0, data.train_y)  # (images, classes)
        self._slots = capacity.slots(self._spec, self._device)
        self._stack_runs(runs)

    def _stack_runs(self, runs: list[Run]) -> None:
        self.runs = runs
        self._parameters = _stack(self._pad([run.parameters for run in runs]))
        self._velocities = _stack(self._pad([run.velocities for run in runs]))
        for index, run in enumerate(runs):
            run.parameters = [stacked[index] for stacked in self._parameters]
            run.velocities = [stacked[index] for stacked in self._velocities]
        self._weights, self._biases = self._parameters[::2], self._parameters[1::2]
        single = [slice(index, index + 1) for index in range(max(len(runs), self._slots))]
        self._groups = _group(runs) if self._device.type == "cpu" else single
        layers = range(len(self._biases))
        self._products = [self._choose_products(layer, single) for layer in layers]
        self._scales = self._per_run([-run.lr for run in runs])
        self._momenta = self._per_run([run.spec.momentum for run in runs])
        self._limits = self._per_run([run.spec.max_norm or 0 for run in runs])
        self._graph = CudaGraph(self._train) if self._device.type == "cuda" else None

    def _choose_products(self, layer: int, single: list[slice]) -> BatchedProducts:
        if self._uses_onednn[layer]:
            return ConcatenatedProducts(single if layer else self._groups)
        has_shared_input = not layer and len(self._groups) < len(single)
        return SharedInputProducts(self._groups) if has_shared_input else BatchedProducts()

    def begin_epoch(self) -> None:
        """Draw the epoch's random numbers."""
        for run in self.runs:
            run.begin_epoch()
        # In place: a recorded graph reads them where they are.
        self._scales.copy_(self._per_run([-run.lr for run in self.runs]))
        orders = [run.randomness.draw_order(run.spec.images) for run in self.runs]
        self._orders = torch.stack(self._pad(orders))  # (runs, images)
        self._group_orders = self._orders[[group.start for group in self._groups]]
        self._masks: Masks = {}
        if self._spec.mask == "batch":
            drawn = [draw_batch_masks(run.spec, run.randomness.masks) for run in self.runs]
            self._masks = {  # each (batches, runs, 1, units)
                layer: mask.transpose(0, 1).unsqueeze(2)
                for layer, mask in self._stack_masks(drawn, self._spec.batches).items()
            }
            return
        for run in self.runs:
            skip_sample_masks(run.spec, run.randomness.masks, run.batch)

    @torch.inference_mode()
    def step(self) -> Outputs:
        """Train the next batch; return the outputs of the runs' networks for it."""
        batch = self.runs[0].batch
        rows = batch_rows(self._spec, batch)
        begin = batch * self._spec.batch_size
        seen = slice(begin, begin + rows)
        images, labels = self._group_orders[:, seen].flatten(), self._orders[:, seen].flatten()
        masks = self._masks_of(batch)
        self._dropout_layers = list(masks)
        # A last batch of fewer images has other shapes.
        train = self._graph if self._graph and rows == self._spec.batch_size else self._train
        logits, y = train(images, labels, *masks.values())
        return Outputs(logits[: len(self.runs)], y[: len(self.runs)])

    def retain(self, runs: list[Run]) -> None:
        """Continue with these of its runs only; the parameters of the others stay as they are."""
        indexes = self._pad([self.runs.index(run) for run in runs])
        kept = torch.tensor(indexes, device=self._device)
        self._orders = self._orders.index_select(0, kept)
        self._masks = {layer: mask.index_select(1, kept) for layer, mask in self._masks.items()}
        self._stack_runs(runs)
        self._group_orders = self._orders[[group.start for group in self._groups]]

    def _masks_of(self, batch: int) -> Masks:
        """Return the masks (runs, 1 or images, units) of each layer with dropout in any run."""
        if self._spec.mask == "batch":
            return {layer: masks[batch] for layer, masks in self._masks.items()}
        drawn = [draw_sample_masks(run.spec, run.randomness.masks, batch) for run in self.runs]
        return self._stack_masks(drawn, batch_rows(self._spec, batch))

    def _stack_masks(self, drawn: Sequence[Masks], rows: int) -> Masks:
        """Stack the masks of each layer, (runs, rows, units); a run without dropout keeps all.

        A product with 1 changes no bit, so that a run does not depend on the other runs' masks.
        """
        widths = layer_widths(self._spec)
        stacked = {}
        for layer in sorted({layer for masks in drawn for layer in masks}):
            ones = torch.ones(rows, widths[layer], dtype=torch.bool, device=self._device)
            stacked[layer] = torch.stack(self._pad([masks.get(layer, ones) for masks in drawn]))
        return stacked

    def _train(self, images: Tensor, labels: Tensor, *drawn: Tensor) -> tuple[Tensor, Tensor]:
        """Train one batch; return the logits (runs, images, classes) and labels (runs, images)."""
        masks = dict(zip(self._dropout_layers, drawn, strict=True))
        x = self._data.train_batch(images).to(self._dtype)
        y = self._data.train_y.index_select(0, labels).view(len(self._scales), -1)
        one_hot = self._one_hot.index_select(0, labels).view(*y.shape, -1)
        weights = [weight.to(self._dtype) for weight in self._weights]
        x = x.view(len(self._groups), y.shape[1], -1)
        logits, activations = self._forward(x, weights, masks)
        gradient = _softmax(logits).sub_(one_hot).mul_(self._scales / y.shape[1])
        self._backward(gradient.to(self._dtype), activations, weights)
        if self._spec.max_norm is not None:
            sgd.limit_norms(self._weights[:-1], self._limits)
        return logits, y

    def _forward(
        self, x: Tensor, weights: list[Tensor], masks: Masks
    ) -> tuple[Tensor, list[Tensor]]:
        """Return the logits, and the input of each layer."""
        activations = [x.mul_(masks[0]) if 0 in masks else x]
        for layer, weight in enumerate(weights[:-1], start=1):
            activations.append(self._activate(layer, activations[-1], weight, masks.get(layer)))
        logits = self._multiply(len(weights), activations[-1], weights[-1], self._biases[-1])
        return logits.float(), activations

    def _activate(self, layer: int, x: Tensor, weight: Tensor, mask: Tensor | None) -> Tensor:
        """Return the output of a hidden layer, after ReLU and mask."""
        bias = self._biases[layer - 1]
        if mask is not None and mask.shape[1] == 1:
            # ReLU makes minus infinity 0: so it costs nothing to drop a unit in a whole batch.
            bias, mask = torch.where(mask[:, 0], bias, -torch.inf), None
        activations = self._multiply(layer, x, weight, bias).relu_()
        return activations if mask is None else activations.mul_(mask)

    def _multiply(self, layer: int, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return self._products[layer - 1].forward(x, weight, bias.to(self._dtype))

    def _backward(self, gradient: Tensor, activations: list[Tensor], weights: list[Tensor]) -> None:
        """Descend `gradient` (runs, images, classes), which is scaled by minus the rates."""
        for layer in reversed(range(len(weights))):
            x, output_gradient = activations[layer], gradient
            if layer:
                # A unit that ReLU or the mask set to 0 passes no gradient.
                gradient = products.relu_backward(
                    self._products[layer].input_gradient(gradient, weights[layer]), x
                )
            self._update(layer, output_gradient, x)

    def _update(self, layer: int, gradient: Tensor, x: Tensor) -> None:
        """Add g' x to a layer's weight, and the sum of g over the images to its bias."""
        step = gradient.sum(1, dtype=torch.float32)
        if not self._velocities:
            self._products[layer].add_weight_gradient(self._weights[layer], gradient, x)
            self._biases[layer].add_(step)
            return
        weight, bias = self._velocities[2 * layer : 2 * layer + 2]
        self._products[layer].add_weight_gradient(weight.mul_(self._momenta), gradient, x)
        self._weights[layer].add_(weight)
        self._biases[layer].add_(bias.mul_(self._momenta[:, :, 0]).add_(step))

    def _per_run(self, values: list[float]) -> Tensor:
        """Return one number for each run, (runs, 1, 1)."""
        return torch.tensor(self._pad(values), device=self._device).view(-1, 1, 1)

    def _pad(self, values: list[T]) -> list[T]:
        """Repeat the last run's value for the slots that are left."""
        return values + values[-1:] * (self._slots - len(values))


def _find_onednn_layers(spec: ExperimentSpec, device: torch.device) -> list[bool]:
    """Return for each layer whether the products of each run go through oneDNN one by one."""
    has_onednn = isinstance(products.choose(spec.precision, device), products.OneDnnProducts)
    widths = (*layer_widths(spec), DATASETS[spec.dataset].classes)
    return [
        has_onednn and spec.batch_size * fan_in * fan_out >= _ONEDNN_SIZE
        for fan_in, fan_out in pairwise(widths)
    ]


def _group(runs: Sequence[Run]) -> list[slice]:
    """Group neighbouring runs that see the same images: equal seeds, no input dropout."""

    def input_of(indexed: tuple[int, Run]) -> tuple[int, int, int]:
        index, run = indexed
        return run.spec.seed, run.epoch, index if run.spec.input_keep < 1 else 0

    sizes = [len(list(group)) for _, group in groupby(enumerate(runs), input_of)]
    return [slice(end - size, end) for size, end in zip(sizes, accumulate(sizes), strict=True)]


def _stack(parts: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    """Stack the first tensors of all runs, their second ones, and so on."""
    return [torch.stack(list(each)) for each in zip(*parts, strict=True)]


def _softmax(logits: Tensor) -> Tensor:
    """Return softmax over the last axis; torch's own takes 5 times as long on rows of 10."""
    odds = (logits - logits.amax(-1, keepdim=True)).exp_()
    return odds.div_(odds.sum(-1, keepdim=True))
