"""An epoch's losses and accuracies: of the last training batch, and of the evaluation images."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from worker.training.data.tensors import Data
from worker.training.engine import products
from worker.training.engine.masks import layer_keeps
from worker.training.engine.run import Run


@dataclass(frozen=True)
class Outputs:
    """A network's outputs for some images, still on the device.

    Those of a batch of runs have the run as their first axis.
    """

    logits: Tensor  # (images, classes)
    y: Tensor  # (images,)

    def split(self) -> list["Outputs"]:
        """Return the outputs of each run."""
        return [Outputs(*each) for each in zip(self.logits, self.y, strict=True)]

    @property
    def loss_and_accuracy(self) -> list[Tensor]:
        """The mean cross-entropy in nats, and the fraction that is classified right."""
        loss = cross_entropy(self.logits, self.y).double()
        return [loss, (self.logits.argmax(1) == self.y).double().mean()]


class Evaluation:
    """The images that a spec is evaluated on, converted once for all runs."""

    def __init__(self, runs: list[Run], data: Data) -> None:
        on_test = runs[0].spec.evaluation == "test"
        x, self._y = (data.test_x, data.test_y) if on_test else (data.valid_x, data.valid_y)
        self._dtype = products.operand_dtype(runs[0].spec)
        self._products = products.choose(runs[0].spec.precision, data.device)
        self._x = x.to(self._dtype)

    def evaluate(self, run: Run) -> Outputs:
        """Return the outputs for the images, each activation times its keep probability."""
        # Run by run also in a batch of runs: so the bits do not depend on the other runs, and
        # products of thousands of rows gain nothing by batching.
        first, *others = layer_keeps(run.spec)
        x = self._x if first == 1 else self._x * first
        weights, biases = run.parameters[::2], run.parameters[1::2]
        for weight, bias, keep in zip(weights[:-1], biases[:-1], others, strict=True):
            x = torch.relu_(self._multiply(x, weight, bias))
            x = x if keep == 1 else x.mul_(keep)
        logits = self._multiply(x, weights[-1], biases[-1])
        return Outputs(logits.float(), self._y)

    def _multiply(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return self._products.forward(x, weight.to(self._dtype), bias.to(self._dtype))


def fetch(pairs: list[tuple[Outputs, Outputs]]) -> list[tuple[float, float, float, float]]:
    """Return train and valid loss and accuracy of each run: the epoch's one wait for the device."""
    rows = [
        torch.stack([*train.loss_and_accuracy, *valid.loss_and_accuracy]) for train, valid in pairs
    ]
    return [tuple(row) for row in torch.stack(rows).tolist()]
