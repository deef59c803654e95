import copy

import torch
from torch import nn
from torch.testing import assert_close

from worker.training import sgd


def make_network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 5))


def test_ten_steps_end_where_those_of_torch_do() -> None:
    ours = make_network()
    theirs = copy.deepcopy(ours)
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.1)

    for x in torch.randn(10, 8, 20):
        ours(x).square().mean().backward()
        sgd.step(ours.parameters(), 0.1)
        optimizer.zero_grad()
        theirs(x).square().mean().backward()
        optimizer.step()

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
