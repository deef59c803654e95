"""The trainer against the arithmetic of the notebook and the paper, stated again in NumPy."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from models.datasets import DATASETS
from models.metrics import EpochMetrics
from models.spec import ExperimentSpec
from worker.training.data.tensors import Data
from worker.training.randomness import make_generator
from worker.training.reference import trainer

pytestmark = pytest.mark.slow

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]


@pytest.fixture
def spec(spec: ExperimentSpec) -> ExperimentSpec:
    """The same on all images, of which a network learns something."""
    return spec.model_copy(update={"train_size": None})


@dataclass
class Figures:
    loss: float
    accuracy: float


class Restatement:
    """A network of weights (fan_in, fan_out), its forward, backward and update by hand."""

    def __init__(self, spec: ExperimentSpec, first: nn.Sequential) -> None:
        linears = [layer for layer in first if isinstance(layer, nn.Linear)]
        self.weights = [layer.weight.detach().double().numpy().T.copy() for layer in linears]
        self.biases = [layer.bias.detach().double().numpy().copy() for layer in linears]
        self.weight_velocities = [np.zeros_like(weight) for weight in self.weights]
        self.bias_velocities = [np.zeros_like(bias) for bias in self.biases]
        self.spec = spec

    def forward(self, x: Floats, factors: list[Floats]) -> tuple[list[Floats], Floats]:
        # The first factor is the features'; the output layer has none.
        inputs = [x * factors[0]]
        for weight, bias, factor in zip(self.weights, self.biases, factors[1:], strict=False):
            inputs.append(np.maximum(inputs[-1] @ weight + bias, 0) * factor)
        return inputs, inputs[-1] @ self.weights[-1] + self.biases[-1]

    def descend(self, x: Floats, y: Labels, masks: list[Floats], lr: float) -> Figures:
        inputs, logits = self.forward(x, masks)
        gradient = softmax(logits)
        gradient[np.arange(len(y)), y] -= 1
        gradient /= len(y)
        for layer in reversed(range(len(self.weights))):
            into_weight, into_bias = inputs[layer].T @ gradient, gradient.sum(0)
            if layer:
                # An activation that was dropped, or that ReLU cut off, is zero and passes nothing.
                gradient = gradient @ self.weights[layer].T * (inputs[layer] > 0)
            self.move(self.weights[layer], self.weight_velocities[layer], lr * into_weight)
            self.move(self.biases[layer], self.bias_velocities[layer], lr * into_bias)
        self.shorten()
        return judge(logits, y)

    def move(self, parameter: Floats, velocity: Floats, step: Floats) -> None:
        velocity[...] = self.spec.momentum * velocity - step
        parameter += velocity

    def shorten(self) -> None:
        limit = self.spec.max_norm or np.inf
        for weight in self.weights[:-1]:
            for unit in range(weight.shape[1]):
                length = np.sqrt((weight[:, unit] ** 2).sum())
                if length > limit:
                    weight[:, unit] *= limit / length

    def evaluate(self, x: Floats, y: Labels) -> Figures:
        factors = [np.asarray(keep) for keep in (self.spec.input_keep, *self.spec.keep)]
        return judge(self.forward(x, factors)[1], y)


def softmax(logits: Floats) -> Floats:
    odds = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(odds / odds.sum(1, keepdims=True))


def judge(logits: Floats, y: Labels) -> Figures:
    loss = -np.log(softmax(logits)[np.arange(len(y)), y]).mean()
    return Figures(float(loss), float((logits.argmax(1) == y).mean()))


def draw_masks(spec: ExperimentSpec, rows: int, generator: torch.Generator) -> list[Floats]:
    widths = (DATASETS[spec.dataset].features, *spec.hidden)
    shapes = [(rows, width) if spec.mask == "sample" else (width,) for width in widths]
    return [
        torch.bernoulli(torch.full(shape, keep), generator=generator).double().numpy()
        if keep < 1
        else np.ones(shape)
        for shape, keep in zip(shapes, (spec.input_keep, *spec.keep), strict=True)
    ]


def pick(data: Data, split: str) -> tuple[Floats, Labels]:
    x, y = (getattr(data, f"{split}_{part}").numpy() for part in "xy")
    return x.astype(np.float64), y


def train_by_hand(
    spec: ExperimentSpec, data: Data, first: nn.Sequential
) -> list[tuple[Figures, Figures]]:
    network = Restatement(spec, first)
    order, masks = make_generator(spec.seed, "order"), make_generator(spec.seed, "masks")
    x, y = pick(data, "train")
    epochs, lr = [], spec.lr
    for _ in range(spec.epochs):
        permutation = torch.randperm(spec.images, generator=order).numpy()
        for begin in range(0, spec.images, spec.batch_size):
            batch = permutation[begin : begin + spec.batch_size]
            drawn = draw_masks(spec, len(batch), masks)
            last = network.descend(x[batch], y[batch], drawn, lr)
        epochs.append((last, network.evaluate(*pick(data, spec.evaluation))))
        lr *= spec.lr_decay
    return epochs


def train_all(spec: ExperimentSpec, data: Data) -> tuple[list[EpochMetrics], trainer.ReferenceRun]:
    run = trainer.start(spec, data, "cpu")
    return list(trainer.train(spec, run, data)), run


def check(metrics: list[EpochMetrics], by_hand: list[tuple[Figures, Figures]]) -> None:
    for ours, (train, valid) in zip(metrics, by_hand, strict=True):
        assert ours.train_loss == pytest.approx(train.loss, abs=1e-5)
        assert ours.train_accuracy == pytest.approx(train.accuracy, abs=1e-5)
        assert ours.valid_loss == pytest.approx(valid.loss, abs=1e-5)
        assert ours.valid_accuracy == pytest.approx(valid.accuracy, abs=1e-5)


@pytest.mark.parametrize("keep", [(0.9, 0.8, 0.8), (1.0, 1.0, 1.0), (1.0, 0.5, 1.0)])
def test_three_epochs_follow_the_notebook(
    spec: ExperimentSpec, digits: Data, keep: tuple[float, ...]
) -> None:
    spec = spec.model_copy(update={"keep": keep})
    first = trainer.start(spec, digits, "cpu").network

    metrics, _ = train_all(spec, digits)

    check(metrics, train_by_hand(spec, digits, first))
    assert metrics[-1].train_loss < metrics[0].train_loss


@pytest.mark.parametrize(
    "fields",
    [
        {"input_keep": 0.8},
        {"mask": "sample"},
        {"momentum": 0.9, "lr": 0.1},
        {"max_norm": 0.5},
        {"lr_decay": 0.5},
        {"momentum": 0.9, "lr": 0.1, "lr_decay": 0.5},
        {"evaluation": "test"},
    ],
    ids=" ".join,
)
def test_each_addition_of_the_paper_follows_its_formula(
    spec: ExperimentSpec, digits: Data, fields: dict[str, object]
) -> None:
    added = spec.model_copy(update=fields)
    first = trainer.start(added, digits, "cpu").network

    metrics, _ = train_all(added, digits)

    check(metrics, train_by_hand(added, digits, first))
    assert metrics[-1].valid_loss != train_all(spec, digits)[0][-1].valid_loss


def test_all_additions_of_the_paper_together_follow_their_formulas(
    paper_spec: ExperimentSpec, digits: Data
) -> None:
    first = trainer.start(paper_spec, digits, "cpu").network

    metrics, _ = train_all(paper_spec, digits)

    check(metrics, train_by_hand(paper_spec, digits, first))
    assert metrics[-1].train_loss < metrics[0].train_loss


def test_a_training_size_takes_the_first_images(spec: ExperimentSpec, digits: Data) -> None:
    spec = spec.model_copy(update={"train_size": 130})
    first = trainer.start(spec, digits, "cpu").network

    metrics, _ = train_all(spec, digits)

    check(metrics, train_by_hand(spec, digits, first))


def test_the_validation_metrics_are_those_of_the_trained_network_not_of_the_last_batch(
    spec: ExperimentSpec, digits: Data
) -> None:
    metrics, run = train_all(spec, digits)

    with torch.no_grad():
        logits = run.network.eval()(digits.valid_x)
    loss = nn.functional.cross_entropy(logits, digits.valid_y).item()
    assert metrics[-1].valid_loss == loss
    assert metrics[-1].train_loss != pytest.approx(loss, abs=1e-3)


def test_mnist_follows_the_notebook(mnist: Data) -> None:
    spec = ExperimentSpec(train_size=2000, hidden=(64, 64, 64), keep=(0.9, 0.8, 0.8), epochs=2)
    first = trainer.start(spec, mnist, "cpu").network

    metrics, _ = train_all(spec, mnist)

    check(metrics, train_by_hand(spec, mnist, first))


def test_mnist_follows_the_paper(mnist: Data) -> None:
    spec = ExperimentSpec(
        train_size=600,
        hidden=(64, 64, 64),
        keep=(0.5, 0.5, 0.5),
        batch_size=100,
        epochs=2,
        input_keep=0.8,
        mask="sample",
        momentum=0.9,
        max_norm=2.0,
        lr_decay=0.9,
        evaluation="test",
    )
    first = trainer.start(spec, mnist, "cpu").network

    metrics, _ = train_all(spec, mnist)

    check(metrics, train_by_hand(spec, mnist, first))
