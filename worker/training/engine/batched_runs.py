"""Runs of one shape as one batched program: their weights are stacked, all else is each run's own.

The first axis of each tensor is the run. Each run's images, masks, rates and limits are its own,
and a slice of a batched product has the bits of the same product alone: so a run's figures are the
same with any neighbours, and with none. On a GPU that holds only for a fixed number of slices:
there all batches of a shape have the same number of slots, and the last run fills those left.
"""

import math
from collections.abc import Callable, Sequence
from itertools import accumulate, groupby, pairwise
from typing import TypeVar

import torch
from torch import Tensor

from models.datasets import DATASETS
from models.spec import ExperimentSpec
from worker.training.data.tensors import Data
from worker.training.engine import capacity, products
from worker.training.engine.batched_products import Batched, BatchedProducts, Grouped, Shared
from worker.training.engine.evaluation import Outputs
from worker.training.engine.masks import (
    batch_rows,
    draw_batch_masks,
    draw_sample_masks,
    layer_widths,
    skip_sample_masks,
)
from worker.training.engine.run import Run
from worker.training.reference import sgd

#: On a CPU in fp32, products of as many multiplications a run go through oneDNN, each by itself:
#: a smaller one takes less time than it takes to begin it, and is better batched. With AVX2 and no
#: more, which MKL uses on every processor, all are.
_LARGE = math.inf if torch.backends.cpu.get_cpu_capability() == "AVX2" else 2**21

T = TypeVar("T")


class BatchedRuns:
    """Trains runs that stand at the same batch of their epochs; their parameters become views."""

    def __init__(self, runs: list[Run], data: Data) -> None:
        self._data, self._spec = data, runs[0].spec
        self._device = data.device
        self._is_large = _find_large(self._spec, self._device)
        self._dtype = products.dtype(self._spec)
        classes = torch.eye(DATASETS[self._spec.dataset].classes, device=self._device)
        self._targets = classes.index_select(0, data.train_y)  # (images, classes), one-hot
        self._slots = capacity.slots(self._spec, self._device)
        self._assemble(runs)

    def _assemble(self, runs: list[Run]) -> None:
        self.runs = runs
        self._parameters = _stack(self._pad([run.parameters for run in runs]))
        self._velocities = _stack(self._pad([run.velocities for run in runs]))
        for index, run in enumerate(runs):
            run.parameters = [stacked[index] for stacked in self._parameters]
            run.velocities = [stacked[index] for stacked in self._velocities]
        self._weights, self._biases = self._parameters[::2], self._parameters[1::2]
        alone = [slice(index, index + 1) for index in range(max(len(runs), self._slots))]
        self._groups = _group(runs) if self._device.type == "cpu" else alone
        self._products = [self._choose_products(layer, alone) for layer in range(len(self._biases))]
        self._rates = self._column([-run.lr for run in runs])
        self._momenta = self._column([run.spec.momentum for run in runs])
        self._limits = self._column([run.spec.max_norm or 0 for run in runs])
        self._replay: _Graph | None = None

    def _choose_products(self, layer: int, alone: list[slice]) -> BatchedProducts:
        if self._is_large[layer]:
            return Grouped(alone if layer else self._groups)
        is_shared = not layer and len(self._groups) < len(alone)
        return Shared(self._groups) if is_shared else Batched()

    def begin_epoch(self) -> None:
        """Draw the epoch's random numbers."""
        for run in self.runs:
            run.begin_epoch()
        # In place: a graph that was recorded reads it where it is.
        self._rates.copy_(self._column([-run.lr for run in self.runs]))
        orders = [run.randomness.draw_order(run.spec.images) for run in self.runs]
        self._orders = torch.stack(self._pad(orders))  # (runs, images)
        self._group_orders = self._orders[[group.start for group in self._groups]]
        self._masks: dict[int, Tensor] = {}
        if self._spec.mask == "batch":
            drawn = [draw_batch_masks(run.spec, run.randomness.masks) for run in self.runs]
            self._masks = {  # each (batches, runs, 1, units)
                layer: mask.transpose(0, 1).unsqueeze(2)
                for layer, mask in self._merge(drawn, self._spec.batches).items()
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
        masks = self._pick_masks(batch)
        logits, y = self._run_program(rows, [images, labels, *masks.values()], list(masks))
        return Outputs(logits[: len(self.runs)], y[: len(self.runs)])

    def retain(self, runs: list[Run]) -> None:
        """Continue with these of its runs only: the others' parameters stay as they are."""
        indexes = self._pad([self.runs.index(run) for run in runs])
        kept = torch.tensor(indexes, device=self._device)
        self._orders = self._orders.index_select(0, kept)
        self._masks = {layer: mask.index_select(1, kept) for layer, mask in self._masks.items()}
        self._assemble(runs)
        self._group_orders = self._orders[[group.start for group in self._groups]]

    def _pick_masks(self, batch: int) -> dict[int, Tensor]:
        """Return each layer's masks (runs, 1 or images, units), of the layers that drop in any."""
        if self._spec.mask == "batch":
            return {layer: masks[batch] for layer, masks in self._masks.items()}
        drawn = [draw_sample_masks(run.spec, run.randomness.masks, batch) for run in self.runs]
        return self._merge(drawn, batch_rows(self._spec, batch))

    def _merge(self, drawn: Sequence[dict[int, Tensor]], rows: int) -> dict[int, Tensor]:
        """Stack each layer's masks (runs, rows, units): a run that drops nothing there keeps all.

        A product with 1 changes no bit, so that a run does not depend on its neighbours' masks.
        """
        widths = layer_widths(self._spec)
        merged = {}
        for layer in sorted({layer for masks in drawn for layer in masks}):
            everything = torch.ones(rows, widths[layer], dtype=torch.bool, device=self._device)
            masks_of_runs = self._pad([masks.get(layer, everything) for masks in drawn])
            merged[layer] = torch.stack(masks_of_runs)
        return merged

    def _run_program(
        self, rows: int, inputs: list[Tensor], layers: list[int]
    ) -> tuple[Tensor, Tensor]:
        """Train a batch; on a GPU replay it as one graph, recorded at its second full batch."""
        if self._device.type == "cpu" or rows < self._spec.batch_size:
            return self._train(layers, *inputs)
        if self._replay is None:
            self._replay = _Graph(lambda *given: self._train(layers, *given))
        return self._replay(*inputs)

    def _train(
        self, layers: list[int], images: Tensor, labels: Tensor, *drawn: Tensor
    ) -> tuple[Tensor, Tensor]:
        masks = dict(zip(layers, drawn, strict=True))
        x = self._data.train_batch(images).to(self._dtype)
        y = self._data.train_y.index_select(0, labels).view(len(self._rates), -1)
        targets = self._targets.index_select(0, labels).view(*y.shape, -1)
        weights = [weight.to(self._dtype) for weight in self._weights]
        x = x.view(len(self._groups), y.shape[1], -1)
        logits, activations = self._forward(x, weights, masks)
        gradient = _softmax(logits).sub_(targets).mul_(self._rates / y.shape[1])
        self._backward(gradient.to(self._dtype), activations, weights)
        if self._spec.max_norm is not None:
            sgd.limit_norms(self._weights[:-1], self._limits)
        return logits, y

    def _forward(
        self, x: Tensor, weights: list[Tensor], masks: dict[int, Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        """Return the logits (runs, images, classes), and the input of each layer."""
        activations = [x.mul_(masks[0]) if 0 in masks else x]
        for layer, weight in enumerate(weights[:-1], start=1):
            activations.append(self._activate(layer, activations[-1], weight, masks.get(layer)))
        logits = self._multiply(len(weights), activations[-1], weights[-1], self._biases[-1])
        return logits.float(), activations

    def _activate(self, layer: int, x: Tensor, weight: Tensor, mask: Tensor | None) -> Tensor:
        """Return the output of a hidden layer, after ReLU and mask."""
        bias = self._biases[layer - 1]
        if mask is None:
            return self._multiply(layer, x, weight, bias).relu_()
        if mask.shape[1] == 1:
            # ReLU makes minus infinity 0: dropping a unit from a whole batch costs nothing.
            silenced = torch.where(mask[:, 0], bias, -torch.inf)
            return self._multiply(layer, x, weight, silenced).relu_()
        return self._multiply(layer, x, weight, bias).relu_().mul_(mask)

    def _multiply(self, layer: int, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return self._products[layer - 1].forward(x, weight, bias.to(self._dtype))

    def _backward(self, gradient: Tensor, activations: list[Tensor], weights: list[Tensor]) -> None:
        """Descend: `gradient` (runs, images, classes) is already scaled by minus the rate."""
        for layer in reversed(range(len(weights))):
            layer_products, x = self._products[layer], activations[layer]
            next_gradient = (
                layer_products.input_gradient(gradient, weights[layer]) if layer else None
            )
            self._update(layer, gradient, x)
            if next_gradient is not None:
                # Through ReLU and mask: where either gave 0, the gradient is 0.
                gradient = products.relu_backward(next_gradient, x)

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

    def _column(self, values: list[float]) -> Tensor:
        """Return one number for each run, (runs, 1, 1)."""
        return torch.tensor(self._pad(values), device=self._device).view(-1, 1, 1)

    def _pad(self, values: list[T]) -> list[T]:
        """Repeat the last run's value for the slots that are left."""
        return values + values[-1:] * (self._slots - len(values))


class _Graph:
    """A function of tensors of fixed shapes, replayed on a GPU as one recorded CUDA graph.

    The first call runs it directly, so that CUDA allocates what it needs at first use; the second
    records it. The next call overwrites what it returned.
    """

    def __init__(self, function: Callable[..., tuple[Tensor, Tensor]]) -> None:
        self._function = function
        self._inputs: list[Tensor] = []
        self._graph: torch.cuda.CUDAGraph | None = None
        self._outputs: tuple[Tensor, Tensor] | None = None

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        if not self._inputs:
            self._inputs = [each.clone() for each in inputs]
            return self._function(*self._inputs)
        for mine, given in zip(self._inputs, inputs, strict=True):
            mine.copy_(given)
        if self._graph is None or self._outputs is None:
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph):
                self._outputs = self._function(*self._inputs)
        self._graph.replay()
        return self._outputs


def _find_large(spec: ExperimentSpec, device: torch.device) -> list[bool]:
    """Return for each layer whether a run's products are to go through oneDNN by themselves."""
    has_onednn = isinstance(products.choose(spec.precision, device), products.OneDnn)
    widths = (*layer_widths(spec), DATASETS[spec.dataset].classes)
    return [
        has_onednn and spec.batch_size * fan_in * fan_out >= _LARGE
        for fan_in, fan_out in pairwise(widths)
    ]


def _group(runs: Sequence[Run]) -> list[slice]:
    """Group neighbouring runs that see the same images: equal seeds, no input dropout."""

    def seen(indexed: tuple[int, Run]) -> tuple[int, int, int]:
        index, run = indexed
        return run.spec.seed, run.epoch, index if run.spec.input_keep < 1 else 0

    sizes = [len(list(group)) for _, group in groupby(enumerate(runs), seen)]
    ends = list(accumulate(sizes))
    return [slice(end - size, end) for size, end in zip(sizes, ends, strict=True)]


def _stack(parts: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    """Stack the runs' first tensors, their second ones, and so on."""
    return [torch.stack(list(each)) for each in zip(*parts, strict=True)]


def _softmax(logits: Tensor) -> Tensor:
    """Return softmax over the last axis; torch's own takes 5 times as long on rows of 10."""
    odds = (logits - logits.amax(-1, keepdim=True)).exp_()
    return odds.div_(odds.sum(-1, keepdim=True))
