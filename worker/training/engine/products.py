"""The matrix products of a layer and of its gradients, each by the fastest way the device has.

Activations and gradients are (images, units), weights (units, inputs). All operands of
a product have one type.
"""

from typing import Protocol

import torch
from torch import Tensor

from models.errors import PrecisionUnavailable
from models.spec import ExperimentSpec, Precision


class Products(Protocol):
    """What one training step needs."""

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Return x W' + b."""

    def input_gradient(self, gradient: Tensor, weight: Tensor) -> Tensor:
        """Return the gradient by the input, g W."""

    def weight_gradient(self, gradient: Tensor, x: Tensor) -> Tensor:
        """Return the gradient by the weight, g' x."""


class OneDnn:
    """fp32 through oneDNN, 2.2 times as fast as MKL on AMD processors that have AVX-512.

    Torch's own fp32 products go to MKL; the operator is the one that `torch.compile` makes of
    `nn.Linear` on a CPU, and only builds with oneDNN have it.
    """

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Return x W' + b."""
        return _multiply(x, weight, bias)

    def input_gradient(self, gradient: Tensor, weight: Tensor) -> Tensor:
        """Return g W."""
        return _multiply(gradient, weight.t())

    def weight_gradient(self, gradient: Tensor, x: Tensor) -> Tensor:
        """Return g' x."""
        return _multiply(gradient.t(), x.t())


def _multiply(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    product: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return product


class Plain:
    """Torch's ordinary products."""

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Return x W' + b."""
        return torch.addmm(bias, x, weight.t())

    def input_gradient(self, gradient: Tensor, weight: Tensor) -> Tensor:
        """Return g W."""
        return torch.mm(gradient, weight)

    def weight_gradient(self, gradient: Tensor, x: Tensor) -> Tensor:
        """Return g' x."""
        return torch.mm(gradient.t(), x)


def choose(precision: Precision, device: torch.device) -> Products:
    """Return the products of one run; on a GPU, also set torch's use of tf32.

    Raises PrecisionUnavailable for tf32 on a CPU, which has no tf32.
    """
    if device.type == "cuda":
        torch.backends.cuda.matmul.fp32_precision = "tf32" if precision == "tf32" else "ieee"
    elif precision == "tf32":
        raise PrecisionUnavailable(
            "tf32 needs a GPU, and this worker has none: submit it with --precision fp32 or bf16"
        )
    has_onednn = hasattr(torch.ops.mkldnn, "_linear_pointwise")
    if device.type == "cpu" and precision == "fp32" and has_onednn:
        return OneDnn()
    return Plain()


def dtype(spec: ExperimentSpec) -> torch.dtype:
    """Return the type of the operands."""
    return torch.bfloat16 if spec.precision == "bf16" else torch.float32


def relu_backward(gradient: Tensor, activation: Tensor) -> Tensor:
    """Set the gradient to 0, in place, where the activation isn't above 0."""
    backward = torch.ops.aten.threshold_backward.grad_input
    cut: Tensor = backward(gradient, activation, 0, grad_input=gradient)
    return cut
