"""A function of tensors as one recorded CUDA graph."""

from collections.abc import Callable

import torch
from torch import Tensor


class CudaGraph:
    """Replays a function of tensors of fixed shapes on a GPU.

    The first call runs the function directly, so that CUDA allocates what it needs at first use;
    the second one records it. Each call overwrites the tensors that the one before returned.
    """

    def __init__(self, function: Callable[..., tuple[Tensor, Tensor]]) -> None:
        self._function = function
        self._inputs: list[Tensor] = []
        self._graph: torch.cuda.CUDAGraph | None = None
        self._outputs: tuple[Tensor, Tensor] | None = None

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the function returns for `inputs`."""
        if not self._inputs:
            self._inputs = [each.clone() for each in inputs]
            return self._function(*self._inputs)
        for recorded, given in zip(self._inputs, inputs, strict=True):
            recorded.copy_(given)
        if self._graph is None or self._outputs is None:
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph):
                self._outputs = self._function(*self._inputs)
        self._graph.replay()
        return self._outputs
