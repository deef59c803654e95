import torch

from worker.training.randomness import Randomness, make_generator


def draw(generator: torch.Generator) -> list[float]:
    return torch.rand(5, generator=generator).tolist()


def test_a_seed_and_a_purpose_always_give_the_same_stream() -> None:
    assert draw(make_generator(7, "masks")) == draw(make_generator(7, "masks"))


def test_each_seed_and_purpose_has_its_own_stream() -> None:
    seeds = (0, 1, 2**32, 2**63 - 1)
    purposes = ("init", "order", "masks")

    streams = {tuple(draw(make_generator(seed, name))) for seed in seeds for name in purposes}

    assert len(streams) == len(seeds) * len(purposes)


def test_one_purpose_drawing_more_leaves_the_others_alone() -> None:
    randomness = Randomness.of(7)

    torch.rand(1000, generator=randomness.init)

    assert draw(randomness.masks) == draw(Randomness.of(7).masks)


def test_restored_generators_continue_where_the_state_was_taken() -> None:
    randomness = Randomness.of(7)
    draw(randomness.order)
    state = randomness.state
    expected = [draw(randomness.order), draw(randomness.masks)]

    restored = Randomness.of(8)
    restored.restore(state)

    assert [draw(restored.order), draw(restored.masks)] == expected
