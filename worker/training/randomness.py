"""The random numbers of one run: generators of its own, seeded by its spec alone."""

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor


def make_generator(seed: int, purpose: str) -> torch.Generator:
    """Return a CPU generator seeded from sha256("seed/purpose").

    Torch's CPU generator keeps 32 bits of the hash; that two of 1,000 seeds share a stream has a
    chance of 1 in 8,600.
    """
    digest = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[-4:]))


@dataclass(frozen=True)
class Randomness:
    """One generator per purpose, so that no purpose's draws shift another's."""

    init: torch.Generator  # the first weights
    order: torch.Generator  # each epoch's permutation of the images
    masks: torch.Generator  # what dropout drops

    @classmethod
    def of(cls, seed: int) -> "Randomness":
        """Return the generators of a seed, nothing drawn yet."""
        return cls(*(make_generator(seed, purpose) for purpose in ("init", "order", "masks")))

    @property
    def state(self) -> dict[str, Tensor]:
        """A copy of where each generator stands."""
        return {purpose: generator.get_state() for purpose, generator in vars(self).items()}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Put each generator back to where `state` was taken."""
        for purpose, generator in vars(self).items():
            generator.set_state(state[purpose])
