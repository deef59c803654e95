import pytest
import torch
from torch.testing import assert_close

from models.spec import Mask
from worker.training.reference.dropout import Dropout1D


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def bernoulli(keep: float, width: int, seed: int = 0) -> torch.Tensor:
    return torch.bernoulli(torch.full((width,), keep), generator=seeded(seed))


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.8, 0.9])
def test_training_multiplies_by_the_mask_that_bernoulli_draws(keep: float) -> None:
    x = torch.randn(5, 8192, generator=seeded(1))

    dropped = Dropout1D(keep, seeded())(x)

    assert torch.equal(dropped, x * bernoulli(keep, 8192))


def test_all_rows_of_a_batch_lose_the_same_activations() -> None:
    dropped = Dropout1D(0.5, seeded())(torch.ones(100, 64))

    assert torch.equal(dropped, dropped[:1].expand(100, 64))
    assert set(dropped.flatten().tolist()) == {0.0, 1.0}


def test_each_batch_draws_its_own_mask() -> None:
    dropout = Dropout1D(0.5, seeded())

    first, second = dropout(torch.ones(1, 1000)), dropout(torch.ones(1, 1000))

    both = torch.bernoulli(torch.full((2000,), 0.5), generator=seeded())
    assert torch.equal(torch.cat([first[0], second[0]]), both)


@pytest.mark.parametrize("mask", ["batch", "sample"])
def test_evaluation_multiplies_by_keep_and_draws_nothing(mask: Mask) -> None:
    generator = seeded()
    x = torch.randn(3, 16, generator=seeded(1))

    scaled = Dropout1D(0.8, generator, mask).eval()(x)

    assert torch.equal(scaled, x * 0.8)
    assert torch.equal(generator.get_state(), seeded().get_state())


def test_keep_is_the_fraction_of_activations_kept() -> None:
    kept = Dropout1D(0.9, seeded())(torch.ones(1, 100_000)).mean()

    # 5 standard deviations of a mean of 100,000 draws
    assert_close(kept.item(), 0.9, atol=0.0048, rtol=0)


def test_the_gradient_passes_only_through_what_was_kept() -> None:
    x = torch.randn(4, 32, generator=seeded(1), requires_grad=True)

    (Dropout1D(0.7, seeded())(x) * 3).sum().backward()

    assert x.grad is not None
    assert torch.equal(x.grad, 3 * bernoulli(0.7, 32).expand(4, 32))


def test_a_sample_mask_is_what_bernoulli_draws_for_each_activation_of_each_row() -> None:
    x = torch.randn(50, 200, generator=seeded(1), requires_grad=True)

    dropped = Dropout1D(0.8, seeded(), "sample")(x)
    (dropped * 3).sum().backward()

    drawn = torch.bernoulli(torch.full((50, 200), 0.8), generator=seeded())
    assert torch.equal(dropped, x * drawn)
    assert x.grad is not None
    assert torch.equal(x.grad, 3 * drawn)


def test_with_a_sample_mask_each_row_loses_other_activations() -> None:
    dropped = Dropout1D(0.5, seeded(), "sample")(torch.ones(100, 64))

    assert len({tuple(row) for row in dropped.tolist()}) == 100
    assert set(dropped.flatten().tolist()) == {0.0, 1.0}


def test_one_row_alone_loses_the_same_with_either_mask() -> None:
    of_batch, of_sample = Dropout1D(0.5, seeded(), "batch"), Dropout1D(0.5, seeded(), "sample")

    assert torch.equal(of_batch(torch.ones(1, 64)), of_sample(torch.ones(1, 64)))
