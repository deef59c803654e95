"""Dropout as in the notebook and the paper: 0/1 masks in training, scaling in evaluation."""

import torch
from torch import Tensor, nn

from models.spec import Mask


class Dropout1D(nn.Module):
    """Drop activations of a layer: the same ones in every row of a batch, or others in each row.

    `keep` is the probability that an activation is KEPT. Training multiplies by a mask of 0s and
    1s, evaluation by `keep` (Srivastava et al. 2014, section 4), unlike `nn.Dropout`, which divides
    by it in training. With `mask` "batch" the mask is a vector (features,), as in the notebook;
    with "sample" it is (batch, features), as in the paper. Masks are drawn on the CPU from
    `generator`, so that they are the same on every device.
    """

    def __init__(self, keep: float, generator: torch.Generator, mask: Mask = "batch") -> None:
        super().__init__()
        self.keep = keep
        self.generator = generator
        self.mask = mask

    def forward(self, x: Tensor) -> Tensor:
        """Return x: (batch, features) with activations dropped, or all of them times `keep`."""
        return x * self._draw_mask(x) if self.training else x * self.keep

    def _draw_mask(self, x: Tensor) -> Tensor:
        shape = x.shape if self.mask == "sample" else x.shape[1:]
        # The same bits as torch.bernoulli, from the same random numbers, 3.6 times faster.
        mask = torch.rand(shape, generator=self.generator) < self.keep
        # non_blocking: a blocking copy would wait for the GPU at every batch. As bytes: a sample
        # mask is as large as x, and bytes are a quarter of that.
        return mask.to(x.device, non_blocking=True).to(x.dtype)

    def extra_repr(self) -> str:
        """Return what `print(network)` shows between the brackets."""
        return f"keep={self.keep}, mask={self.mask}"
