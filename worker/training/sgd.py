"""Stochastic gradient descent, written out as in the notebook."""

from collections.abc import Iterable

import torch
from torch import nn


@torch.no_grad()
def step(parameters: Iterable[nn.Parameter], lr: float) -> None:
    """Descend the gradient, p <- p - lr * dL/dp, and zero it for the next batch."""
    for p in parameters:
        if p.grad is not None:
            p.sub_(lr * p.grad)
            p.grad.zero_()
