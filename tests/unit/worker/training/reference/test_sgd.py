import copy
from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.sgd import sgd as sgd_of_torch
from torch.testing import assert_close

from worker.training.reference import sgd


def make_network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 5))


def torchs_step(parameters: Iterable[nn.Parameter], momentum: float) -> Callable[[float], None]:
    """Return a step by torch's own function; its class SGD imports torch's compiler, a second."""
    moved = list(parameters)
    velocities: list[Tensor | None] = [None] * len(moved)
    options: dict[str, Any] = {"weight_decay": 0, "dampening": 0, "nesterov": False}

    @torch.no_grad()
    def step(lr: float) -> None:
        gradients = [p.grad for p in moved]
        sgd_of_torch(
            moved, gradients, velocities, lr=lr, momentum=momentum, maximize=False, **options
        )
        for p in moved:
            p.grad = None

    return step


def test_ten_steps_end_where_those_of_torch_do() -> None:
    ours = make_network()
    theirs = copy.deepcopy(ours)
    step = torchs_step(theirs.parameters(), momentum=0.0)

    for x in torch.randn(10, 8, 20):
        ours(x).square().mean().backward()
        sgd.step(ours.parameters(), 0.1)
        theirs(x).square().mean().backward()
        step(0.1)

    assert_close(ours.state_dict(), theirs.state_dict())


def test_one_step_subtracts_the_gradient_times_the_rate_and_zeroes_it() -> None:
    parameter = nn.Parameter(torch.tensor([1.0, 2.0]))
    parameter.grad = torch.tensor([3.0, 5.0])

    sgd.step([parameter], 0.5)

    assert parameter.tolist() == [1 - 0.5 * 3, 2 - 0.5 * 5]
    assert parameter.grad.tolist() == [0, 0]


def test_a_parameter_without_gradient_stays() -> None:
    parameter = nn.Parameter(torch.ones(2))

    sgd.step([parameter], 0.5)

    assert parameter.tolist() == [1, 1]


def test_ten_steps_with_momentum_end_where_those_of_torch_do() -> None:
    ours = make_network()
    theirs = copy.deepcopy(ours)
    velocities = [torch.zeros_like(p) for p in ours.parameters()]
    step = torchs_step(theirs.parameters(), momentum=0.9)

    for x in torch.randn(10, 8, 20):
        ours(x).square().mean().backward()
        sgd.step_with_momentum(ours.parameters(), velocities, 0.1, 0.9)
        theirs(x).square().mean().backward()
        step(0.1)

    assert_close(ours.state_dict(), theirs.state_dict())


def test_a_rate_that_decays_leaves_the_velocity_gathered_before_as_it_is() -> None:
    ours, theirs = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
    velocity = torch.zeros(1)
    step = torchs_step([theirs], momentum=0.5)

    for lr in (1.0, 0.5):
        ours.grad, theirs.grad = torch.ones(1), torch.ones(1)
        sgd.step_with_momentum([ours], [velocity], lr, 0.5)
        step(lr)

    assert ours.item() == -1 + (0.5 * -1 - 0.5 * 1)
    # torch's velocity is in units of gradients, so that the new rate scales all of it.
    assert theirs.item() == -1 - 0.5 * (0.5 * 1 + 1)


def test_one_step_with_momentum_moves_by_the_new_velocity_and_zeroes_the_gradient() -> None:
    parameter, velocity = nn.Parameter(torch.tensor([1.0, 2.0])), torch.tensor([4.0, -8.0])
    parameter.grad = torch.tensor([3.0, 5.0])

    sgd.step_with_momentum([parameter], [velocity], lr=0.5, momentum=0.25)

    assert velocity.tolist() == [0.25 * 4 - 0.5 * 3, 0.25 * -8 - 0.5 * 5]
    assert parameter.tolist() == [1 + velocity[0].item(), 2 + velocity[1].item()]
    assert parameter.grad.tolist() == [0, 0]


def test_a_parameter_without_gradient_stays_whatever_its_velocity() -> None:
    parameter, velocity = nn.Parameter(torch.ones(2)), torch.ones(2)

    sgd.step_with_momentum([parameter], [velocity], lr=0.5, momentum=0.9)

    assert parameter.tolist() == velocity.tolist() == [1, 1]


@pytest.mark.parametrize("max_norm", [0.1, 4.0, 4.5, 100.0])
def test_norms_are_limited_as_torch_does(max_norm: float) -> None:
    weight = torch.randn(50, 20, generator=torch.Generator().manual_seed(0))
    limited = nn.Parameter(weight.clone())

    sgd.limit_norms([limited], max_norm)

    assert_close(limited.detach(), torch.renorm(weight, p=2, dim=0, maxnorm=max_norm))


def test_only_rows_over_the_limit_are_scaled_and_keep_their_direction() -> None:
    weight = nn.Parameter(torch.tensor([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0], [0.0, 2.0]]))

    sgd.limit_norms([weight], 2.0)

    expected = torch.tensor([[1.2, 1.6], [0.3, 0.4], [0.0, 0.0], [0.0, 2.0]])
    assert_close(weight.detach(), expected)
    assert torch.equal(weight[1:], expected[1:])


def test_a_norm_that_is_not_finite_stays_visible() -> None:
    weight = nn.Parameter(torch.tensor([[torch.inf, 1.0], [torch.nan, 1.0]]))

    sgd.limit_norms([weight], 2.0)

    assert weight.sum(1).isnan().all()
