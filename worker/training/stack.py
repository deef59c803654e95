"""Runs of one shape as one batched program: their weights stacked, all else each one's own.

In tensors of a stack the first axis is the run. Each run's images, masks, rates and limits are its
own, and a slice of a stacked product has the bits of the same product alone: so a run's figures are
the same whoever its neighbours are, and also without any. On a GPU that holds for as many slices
only: there all stacks of a shape have as many slots, and the last run fills those that are left.
"""

import math
from collections.abc import Callable, Sequence
from itertools import accumulate, groupby, pairwise
from typing import TypeVar

import torch
from torch import Tensor

from models.datasets import DATASETS
from models.spec import ExperimentSpec
from worker.training import draws, products, sgd
from worker.training.data import Data
from worker.training.passes import Pass
from worker.training.run import Run
from worker.training.stacked_products import Batched, Grouped, Shared, StackedProducts

#: On a CPU in fp32, products of as many multiplications a run go through oneDNN, each by itself:
#: a smaller one takes less time than it takes to begin it, and is better batched. With AVX2 and no
#: more, which MKL uses on every processor, all are.
_LARGE = math.inf if torch.backends.cpu.get_cpu_capability() == "AVX2" else 2**21
#: How many slots a stack has on a GPU, by how large its layers are at most: units, times units or
#: images a batch, whichever are more. Of larger ones a lone run keeps a GPU busy.
_SLOTS = {2**15: 64, 2**18: 8}

T = TypeVar("T")


class Stack:
    """Trains runs that stand at the same batch of their epochs; their parameters become views."""

    def __init__(self, runs: list[Run], data: Data) -> None:
        self._data, self._spec = data, runs[0].spec
        self._device = data.device
        self._is_large = _find_large(self._spec, self._device)
        self._dtype = products.dtype(self._spec)
        classes = torch.eye(DATASETS[self._spec.dataset].classes, device=self._device)
        self._targets = classes.index_select(0, data.train_y)  # (images, classes), one-hot
        self._slots = slots(self._spec) if self._device.type == "cuda" else 1
        self._assemble(runs)

    def _assemble(self, runs: list[Run]) -> None:
        self.runs = runs
        self._parameters = _stack(self._fill([run.parameters for run in runs]))
        self._velocities = _stack(self._fill([run.velocities for run in runs]))
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

    def _choose_products(self, layer: int, alone: list[slice]) -> StackedProducts:
        if self._is_large[layer]:
            return Grouped(alone if layer else self._groups)
        is_shared = not layer and len(self._groups) < len(alone)
        return Shared(self._groups) if is_shared else Batched()

    def begin_epoch(self) -> None:
        """Draw what the epoch needs."""
        for run in self.runs:
            run.begin_epoch()
        # In place: a graph that was recorded reads it where it is.
        self._rates.copy_(self._column([-run.lr for run in self.runs]))
        orders = [draws.draw_order(run.spec, run.randomness.order) for run in self.runs]
        self._orders = torch.stack(self._fill(orders))  # (runs, images)
        self._group_orders = self._orders[[group.start for group in self._groups]]
        self._masks: dict[int, Tensor] = {}
        if self._spec.mask == "batch":
            drawn = [draws.draw_batch_masks(run.spec, run.randomness.masks) for run in self.runs]
            self._masks = {  # each (batches, runs, 1, units)
                layer: mask.transpose(0, 1).unsqueeze(2)
                for layer, mask in self._merge(drawn, self._spec.batches).items()
            }
            return
        for run in self.runs:
            draws.skip_sample_masks(run.spec, run.randomness.masks, run.batch)

    @torch.inference_mode()
    def step(self) -> Pass:
        """Train the next batch; return what the runs' networks made of it."""
        batch = self.runs[0].batch
        rows = draws.rows(self._spec, batch)
        begin = batch * self._spec.batch_size
        seen = slice(begin, begin + rows)
        images, labels = self._group_orders[:, seen].flatten(), self._orders[:, seen].flatten()
        masks = self._pick_masks(batch)
        logits, y = self._run_program(rows, [images, labels, *masks.values()], list(masks))
        return Pass(logits[: len(self.runs)], y[: len(self.runs)])

    def keep(self, runs: list[Run]) -> None:
        """Go on with some of its runs only: the others' parameters stay as they are."""
        indexes = self._fill([self.runs.index(run) for run in runs])
        kept = torch.tensor(indexes, device=self._device)
        self._orders = self._orders.index_select(0, kept)
        self._masks = {layer: mask.index_select(1, kept) for layer, mask in self._masks.items()}
        self._assemble(runs)
        self._group_orders = self._orders[[group.start for group in self._groups]]

    def _pick_masks(self, batch: int) -> dict[int, Tensor]:
        """Return each layer's masks (runs, 1 or images, units), of the layers that drop in any."""
        if self._spec.mask == "batch":
            return {layer: masks[batch] for layer, masks in self._masks.items()}
        drawn = [
            draws.draw_sample_masks(run.spec, run.randomness.masks, batch) for run in self.runs
        ]
        return self._merge(drawn, draws.rows(self._spec, batch))

    def _merge(self, drawn: Sequence[dict[int, Tensor]], rows: int) -> dict[int, Tensor]:
        """Stack each layer's masks (runs, rows, units): a run that drops nothing there keeps all.

        A product with 1 changes no bit, so that no run minds its neighbours' masks.
        """
        widths = draws.widths(self._spec)
        merged = {}
        for layer in sorted({layer for masks in drawn for layer in masks}):
            everything = torch.ones(rows, widths[layer], dtype=torch.bool, device=self._device)
            everyone = self._fill([masks.get(layer, everything) for masks in drawn])
            merged[layer] = torch.stack(everyone)
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
        x = self._data.pick(images).to(self._dtype)
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
        """Return the logits (runs, images, classes), and what went into each layer."""
        activations = [x.mul_(masks[0]) if 0 in masks else x]
        for layer, weight in enumerate(weights[:-1], start=1):
            activations.append(self._activate(layer, activations[-1], weight, masks.get(layer)))
        logits = self._multiply(len(weights), activations[-1], weights[-1], self._biases[-1])
        return logits.float(), activations

    def _activate(self, layer: int, x: Tensor, weight: Tensor, mask: Tensor | None) -> Tensor:
        """Return what comes out of a hidden layer, past ReLU and mask."""
        bias = self._biases[layer - 1]
        if mask is None:
            return self._multiply(layer, x, weight, bias).relu_()
        if mask.shape[1] == 1:
            # ReLU makes 0 of minus infinity: what is dropped from a whole batch costs nothing.
            silenced = torch.where(mask[:, 0], bias, -torch.inf)
            return self._multiply(layer, x, weight, silenced).relu_()
        return self._multiply(layer, x, weight, bias).relu_().mul_(mask)

    def _multiply(self, layer: int, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return self._products[layer - 1].forward(x, weight, bias.to(self._dtype))

    def _backward(self, gradient: Tensor, activations: list[Tensor], weights: list[Tensor]) -> None:
        """Descend: `gradient` (runs, images, classes) is scaled by minus the rate already."""
        for layer in reversed(range(len(weights))):
            multiplied, x = self._products[layer], activations[layer]
            into_input = multiplied.into_input(gradient, weights[layer]) if layer else None
            self._move(layer, gradient, x)
            if into_input is not None:
                # Past ReLU and mask: where either gave 0, nothing comes back.
                gradient = products.cut(into_input, x)

    def _move(self, layer: int, gradient: Tensor, x: Tensor) -> None:
        """Add g' x to a layer's weight, and what it sums to over the images to its bias."""
        step = gradient.sum(1, dtype=torch.float32)
        if not self._velocities:
            self._products[layer].add_into_weight(self._weights[layer], gradient, x)
            self._biases[layer].add_(step)
            return
        weight, bias = self._velocities[2 * layer : 2 * layer + 2]
        self._products[layer].add_into_weight(weight.mul_(self._momenta), gradient, x)
        self._weights[layer].add_(weight)
        self._biases[layer].add_(bias.mul_(self._momenta[:, :, 0]).add_(step))

    def _column(self, values: list[float]) -> Tensor:
        """Return one number a run, (runs, 1, 1)."""
        return torch.tensor(self._fill(values), device=self._device).view(-1, 1, 1)

    def _fill(self, values: list[T]) -> list[T]:
        """Repeat the last run's value for the slots that are left."""
        return values + values[-1:] * (self._slots - len(values))


class _Graph:
    """A function of tensors of fixed shapes, replayed on a GPU as one recorded CUDA graph.

    The first call runs it as it is, which also makes what CUDA makes at first use; the second
    records it. What it returns is overwritten by the next call.
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


def slots(spec: ExperimentSpec) -> int:
    """Return how many runs of this shape a GPU trains as one stack, or as if it had as many."""
    width = max(spec.hidden)
    size = max(spec.batch_size, width) * width
    return next((slots for limit, slots in _SLOTS.items() if size <= limit), 1)


def _find_large(spec: ExperimentSpec, device: torch.device) -> list[bool]:
    """Return for each layer whether a run's products are to go through oneDNN by themselves."""
    has_onednn = isinstance(products.choose(spec.precision, device), products.OneDnn)
    widths = (*draws.widths(spec), DATASETS[spec.dataset].classes)
    return [
        has_onednn and spec.batch_size * fan_in * fan_out >= _LARGE
        for fan_in, fan_out in pairwise(widths)
    ]


def _group(runs: Sequence[Run]) -> list[slice]:
    """Group runs side by side that see the same images: equal seeds, none dropping any of them."""

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
