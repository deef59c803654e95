"""Stochastic gradient descent: the notebook's step, the paper's momentum and max-norm."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn


@torch.no_grad()
def step(parameters: Iterable[nn.Parameter], lr: float) -> None:
    """Descend the gradient, p <- p - lr * dL/dp, and zero it for the next batch."""
    for p in parameters:
        if p.grad is not None:
            p.sub_(lr * p.grad)
            p.grad.zero_()


@torch.no_grad()
def step_with_momentum(
    parameters: Iterable[nn.Parameter], velocities: Iterable[Tensor], lr: float, momentum: float
) -> None:
    """Descend by v <- momentum * v - lr * dL/dp and p <- p + v, and zero the gradient.

    As in Sutskever et al. 2013, equations 1 and 2 (https://proceedings.mlr.press/v28/sutskever13.html).
    torch.optim.SGD applies lr later: v <- momentum * v + dL/dp and p <- p - lr * v. With a constant
    lr the parameters are the same; when lr decays, torch scales the earlier velocity down with it,
    and this does not.
    """
    for p, v in zip(parameters, velocities, strict=True):
        if p.grad is not None:
            v.mul_(momentum).sub_(lr * p.grad)
            p.add_(v)
            p.grad.zero_()


@torch.no_grad()
def limit_norms(weights: Iterable[Tensor], max_norm: float | Tensor) -> None:
    """Scale each row of a weight down to the L2 norm `max_norm` if it is longer.

    A row of a weight (units, inputs) holds a unit's incoming weights: w <- w min(1, c / ||w||), the
    projection onto a ball of radius c of Srivastava et al. 2014, section 5.1. Weights may be those
    of a batch of runs (runs, units, inputs), with a limit for each (runs, 1, 1).
    """
    for weight in weights:
        norms = torch.linalg.vector_norm(weight, dim=-1, keepdim=True)  # (units, 1)
        # A row of zeros: c / 0 is infinite, and so limited to 1.
        weight.mul_((max_norm / norms).clamp(max=1))
