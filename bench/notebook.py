"""The notebook's training loop, stated again as the peer that dq's own training is timed against.

Autograd, masks drawn by `bernoulli` for each batch, a fresh permutation an epoch, and an update
that subtracts the rate times the gradient from each parameter; after each epoch the evaluation.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy


class Dropout1D(nn.Module):
    """Keeps each unit with a probability, the same units for the whole batch."""

    def __init__(self, keep: float) -> None:
        super().__init__()
        self.keep = keep

    def forward(self, x: Tensor) -> Tensor:
        """Multiply by a mask in training, and by `keep` in evaluation."""
        if not self.training:
            return x * self.keep
        chances = torch.empty((x.shape[1],)).fill_(self.keep)
        return x * torch.bernoulli(chances).to(x.device)


def build(widths: Sequence[int], keep: Sequence[float], device: str = "cpu") -> nn.Sequential:
    """Return the network: a linear layer, ReLU and dropout for each hidden width."""
    layers: list[nn.Module] = []
    for fan_in, fan_out, rate in zip(widths[:-2], widths[1:-1], keep, strict=True):
        layers.append(nn.Sequential(nn.Linear(fan_in, fan_out), nn.ReLU(), Dropout1D(rate)))
    return nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1])).to(device)


def train_epoch(
    network: nn.Sequential, images: Tensor, labels: Tensor, batch_size: int, lr: float = 0.1
) -> float:
    """Pass over the images once; return the last batch's loss, as the notebook prints it."""
    network.train()
    order = torch.randperm(len(images))
    for begin in range(0, len(images), batch_size):
        chosen = order[begin : begin + batch_size]
        x, y = images[chosen], labels[chosen]
        loss = cross_entropy(network(x), y)
        loss.backward()
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.sub_(lr * parameter.grad)
                parameter.grad.zero_()
    return loss.item()


def evaluate(network: nn.Sequential, images: Tensor, labels: Tensor) -> tuple[float, float]:
    """Return the loss and the accuracy on the validation images."""
    network.eval()
    with torch.no_grad():
        logits = network(images)
        right = (logits.argmax(1) == labels).float().mean()
        return cross_entropy(logits, labels).item(), right.item()
