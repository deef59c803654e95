"""The random generators of one run, seeded by its spec alone."""

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor


def make_generator(seed: int, purpose: str, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a generator of the device seeded from sha256("seed/purpose").

    Torch's CPU generator keeps 32 bits of the hash; that two of 1,000 seeds share a stream has a
    chance of 1 in 8,600.
    """
    digest = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[-4:]))


@dataclass(frozen=True)
class Randomness:
    """One generator for each purpose, so that drawing for one does not shift another."""

    init: torch.Generator  # the first weights
    order: torch.Generator  # each epoch's permutation of the images
    masks: torch.Generator  # what dropout drops

    @classmethod
    def of(cls, seed: int, device: torch.device | str = "cpu") -> "Randomness":
        """Return the generators of a seed.

        The first weights always come from the CPU, so that they are the same on every device.
        """
        order, masks = (make_generator(seed, purpose, device) for purpose in ("order", "masks"))
        return cls(make_generator(seed, "init"), order, masks)

    def draw_order(self, images: int) -> Tensor:
        """Return an epoch's permutation of the images, (images,)."""
        return torch.randperm(images, generator=self.order, device=self.order.device)

    @property
    def state(self) -> dict[str, Tensor]:
        """A copy of each generator's state."""
        return {purpose: generator.get_state() for purpose, generator in vars(self).items()}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Set each generator to a state."""
        for purpose, generator in vars(self).items():
            generator.set_state(state[purpose])
