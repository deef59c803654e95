"""The matrix products of a linear layer and of its gradients, the fastest that the device has.

Activations and gradients are (images, units), weights (units, inputs). All operands of
a product have one type.
"""

import torch
from torch import Tensor

from models.errors import PrecisionUnavailable
from models.spec import ExperimentSpec, Precision


class Products:
    """Torch's own products."""

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Return x W' + b."""
        return torch.addmm(bias, x, weight.t())

    def input_gradient(self, gradient: Tensor, weight: Tensor) -> Tensor:
        """Return the gradient with respect to the input, g W."""
        return torch.mm(gradient, weight)

    def weight_gradient(self, gradient: Tensor, x: Tensor) -> Tensor:
        """Return the gradient with respect to the weight, g' x."""
        return torch.mm(gradient.t(), x)


class OneDnnProducts(Products):
    """Products in fp32 by oneDNN, 2.2 times as fast as MKL on AMD processors with AVX-512.

    Torch's own fp32 products use MKL. This operator is what `torch.compile` makes of `nn.Linear` on
    a CPU; only builds with oneDNN have it.
    """

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return x W' + b."""
        product: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
        return product

    def input_gradient(self, gradient: Tensor, weight: Tensor) -> Tensor:
        """Return g W."""
        return self.forward(gradient, weight.t(), None)

    def weight_gradient(self, gradient: Tensor, x: Tensor) -> Tensor:
        """Return g' x."""
        return self.forward(gradient.t(), x.t(), None)


def choose(precision: Precision, device: torch.device) -> Products:
    """Return the products of one run; on a GPU, also set whether torch uses tf32.

    Raises PrecisionUnavailable for tf32 on a CPU, which has no tf32.
    """
    if device.type == "cuda":
        torch.backends.cuda.matmul.fp32_precision = "tf32" if precision == "tf32" else "ieee"
    elif precision == "tf32":
        raise PrecisionUnavailable(
            "tf32 needs a GPU, and this worker has none: submit it with --precision fp32 or bf16"
        )
    has_onednn = hasattr(torch.ops.mkldnn, "_linear_pointwise")
    is_onednn = device.type == "cpu" and precision == "fp32" and has_onednn
    return OneDnnProducts() if is_onednn else Products()


def operand_dtype(spec: ExperimentSpec) -> torch.dtype:
    """Return the type of the products' operands."""
    return torch.bfloat16 if spec.precision == "bf16" else torch.float32


def relu_backward(gradient: Tensor, activation: Tensor) -> Tensor:
    """Set the gradient to 0, in place, where the activation is not above 0."""
    backward = torch.ops.aten.threshold_backward.grad_input
    passed: Tensor = backward(gradient, activation, 0, grad_input=gradient)
    return passed
