"""The matrix products of a layer and of its gradients, each by the fastest way the device has.

Activations and gradients are (batch, units), weights (units, inputs); with a stack of runs, each
has a first axis more. What they are made of in between is an operand: a tensor as the products
want it, made by `enter` and, for what only plain tensors can do, unmade by `leave`.
"""

from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import linear

from models.errors import PrecisionUnavailable
from models.spec import ExperimentSpec, Precision


class Products(Protocol):
    """What one training step needs."""

    def enter(self, x: Tensor) -> Tensor:
        """Make an operand."""

    def leave(self, operand: Tensor) -> Tensor:
        """Make a plain fp32 tensor."""

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Return x W' + b, an operand."""

    def into_input(self, gradient: Tensor, weight: Tensor) -> Tensor:
        """Return the gradient by what came in, g W, an operand."""

    def into_weight(self, gradient: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradients by weight, g' x, and by bias, plain tensors."""

    def cut(self, gradient: Tensor, activation: Tensor) -> Tensor:
        """Return the gradient where the activation is above 0, and 0 elsewhere: ReLU's backward."""


class OneDnn:
    """fp32 through oneDNN, which is 2.2 times as fast as MKL where the processor is no Intel's.

    torch sends only tensors of its opaque layout there: `Tensor.to_mkldnn`.
    """

    def enter(self, x: Tensor) -> Tensor:
        """Copy into oneDNN's layout."""
        return x.to_mkldnn()

    def leave(self, operand: Tensor) -> Tensor:
        """Copy out of it."""
        return operand.to_dense()

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Return x W' + b."""
        return linear(x, weight, bias)

    def into_input(self, gradient: Tensor, weight: Tensor) -> Tensor:
        """Return g W."""
        size = [len(gradient), weight.shape[1]]
        operand: Tensor = torch.ops.aten.mkldnn_linear_backward_input(size, gradient, weight)
        return operand

    def into_weight(self, gradient: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return g' x, and g summed over the batch."""
        # It looks at the weight's size and layout alone, and only to return the same.
        like = torch.empty(gradient.shape[1], x.shape[1])
        weight, bias = torch.ops.aten.mkldnn_linear_backward_weights(gradient, x, like, True)
        return weight, bias

    def cut(self, gradient: Tensor, activation: Tensor) -> Tensor:
        """Return ReLU's backward."""
        operand: Tensor = torch.ops.aten.threshold_backward(gradient, activation, 0)
        return operand


class Plain:
    """Operands of a type, by torch's ordinary products; gradients by parameters come as fp32."""

    def __init__(self, dtype: torch.dtype) -> None:
        self._dtype = dtype

    def enter(self, x: Tensor) -> Tensor:
        """Round to the type."""
        return x.to(self._dtype)

    def leave(self, operand: Tensor) -> Tensor:
        """Widen to fp32."""
        return operand.float()

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Return x W' + b."""
        return torch.addmm(self.enter(bias), x, self.enter(weight).t())

    def into_input(self, gradient: Tensor, weight: Tensor) -> Tensor:
        """Return g W."""
        return torch.mm(gradient, self.enter(weight))

    def into_weight(self, gradient: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return g' x, and g summed over the batch."""
        return torch.mm(gradient.t(), x), gradient.sum(0, dtype=torch.float32)

    def cut(self, gradient: Tensor, activation: Tensor) -> Tensor:
        """Return ReLU's backward."""
        operand: Tensor = torch.ops.aten.threshold_backward(gradient, activation, 0)
        return operand


def choose(precision: Precision, device: torch.device) -> Products:
    """Return the products of one run; on a GPU, have torch take tf32 or leave it, too.

    Raises PrecisionUnavailable for tf32 on a CPU, which has no such numbers.
    """
    if device.type == "cuda":
        torch.backends.cuda.matmul.fp32_precision = "tf32" if precision == "tf32" else "ieee"
    elif precision == "tf32":
        raise PrecisionUnavailable(
            "tf32 needs a GPU, and this worker has none: submit it with --precision fp32 or bf16"
        )
    has_onednn = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call] # torch's gap
    if device.type == "cpu" and precision == "fp32" and has_onednn:
        return OneDnn()
    return Plain(torch.bfloat16 if precision == "bf16" else torch.float32)


def dtype(spec: ExperimentSpec) -> torch.dtype:
    """Return the type of the operands."""
    return torch.bfloat16 if spec.precision == "bf16" else torch.float32
