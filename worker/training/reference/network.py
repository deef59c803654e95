"""The network of a spec, and its first weights."""

from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor, nn

from models.datasets import DATASETS
from models.spec import ExperimentSpec
from worker.training.reference.dropout import Dropout1D


def build(spec: ExperimentSpec, masks: torch.Generator) -> nn.Sequential:
    """Return the spec's network on the CPU, its weights still undefined.

    It maps (batch, features) to logits (batch, classes). Each hidden layer is Linear, ReLU and,
    where keep is below 1, Dropout1D with masks from the generator `masks`; the output layer is
    a Linear alone. If input_keep is below 1, a Dropout1D of the features comes first.
    """
    return nn.Sequential(*_layers(spec, masks))


def _layers(spec: ExperimentSpec, masks: torch.Generator) -> Iterator[nn.Module]:
    dataset = DATASETS[spec.dataset]
    widths = (dataset.features, *spec.hidden)
    if spec.input_keep < 1:
        yield Dropout1D(spec.input_keep, masks, spec.mask)
    for (fan_in, fan_out), keep in zip(pairwise(widths), spec.keep, strict=True):
        yield _undefined_linear(fan_in, fan_out)
        yield nn.ReLU()
        if keep < 1:
            yield Dropout1D(keep, masks, spec.mask)
    yield _undefined_linear(widths[-1], dataset.classes)


def _undefined_linear(fan_in: int, fan_out: int) -> nn.Linear:
    # An ordinary nn.Linear would draw its weights from torch's global generator.
    return nn.Linear(fan_in, fan_out, device="meta").to_empty(device="cpu")


def initialise(network: nn.Sequential, generator: torch.Generator) -> None:
    """Draw the weights as `nn.Linear` does, but from `generator`.

    That is kaiming_uniform(a=sqrt(5)) for weights, whose bound is 1/sqrt(fan_in), and the same
    bound for biases: https://docs.pytorch.org/docs/stable/generated/torch.nn.Linear.html
    """
    for layer in network:
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_uniform_(layer.weight, a=5**0.5, generator=generator)
            bound = layer.in_features**-0.5
            nn.init.uniform_(layer.bias, -bound, bound, generator=generator)


def hidden_weights(network: nn.Sequential) -> list[Tensor]:
    """Return the weights (units, inputs) of the hidden layers: of every Linear but the last."""
    linears = [layer for layer in network if isinstance(layer, nn.Linear)]
    return [layer.weight for layer in linears[:-1]]
