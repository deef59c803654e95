import torch
from torch import nn

from models.spec import ExperimentSpec
from worker.training.reference import network
from worker.training.reference.dropout import Dropout1D


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_network(**fields: object) -> nn.Sequential:
    spec = ExperimentSpec.model_validate({"dataset": "digits", **fields})
    built = network.build(spec, seeded())
    network.initialise(built, seeded(3))
    return built


def test_each_hidden_layer_is_linear_relu_and_dropout_and_the_output_is_linear() -> None:
    built = make_network(hidden=(30, 20), keep=(0.9, 0.8))

    kinds = [type(layer) for layer in built]
    assert kinds == [nn.Linear, nn.ReLU, Dropout1D, nn.Linear, nn.ReLU, Dropout1D, nn.Linear]
    assert built(torch.zeros(4, 64)).shape == (4, 10)


def test_a_layer_that_keeps_all_has_no_dropout() -> None:
    built = make_network(hidden=(30, 20), keep=(1.0, 0.8))

    assert [layer.keep for layer in built if isinstance(layer, Dropout1D)] == [0.8]


def test_the_first_weights_are_those_torch_draws_from_the_same_stream() -> None:
    torch.manual_seed(3)
    theirs = nn.Sequential(
        nn.Linear(64, 30), nn.ReLU(), nn.Linear(30, 20), nn.ReLU(), nn.Linear(20, 10)
    )

    ours = make_network(hidden=(30, 20))

    pairs = zip(ours.parameters(), theirs.parameters(), strict=True)
    assert all(torch.equal(mine, torchs) for mine, torchs in pairs)


def test_building_leaves_the_global_generator_alone() -> None:
    before = torch.random.get_rng_state()

    make_network(hidden=(30, 20), keep=(0.9, 0.8))(torch.zeros(4, 64))

    assert torch.equal(torch.random.get_rng_state(), before)


def test_an_input_keep_below_1_drops_features_before_the_first_layer() -> None:
    built = make_network(hidden=(30,), input_keep=0.5)

    assert [type(layer) for layer in built] == [Dropout1D, nn.Linear, nn.ReLU, nn.Linear]
    dropped = torch.bernoulli(torch.full((64,), 0.5), generator=seeded())
    x = torch.randn(4, 64, generator=seeded(1))
    assert torch.equal(built(x), built[1:](x * dropped))
    assert torch.equal(built.eval()(x), built[1:](x * 0.5))


def test_all_dropout_of_a_network_has_the_specs_mask() -> None:
    built = make_network(hidden=(30, 20), keep=(0.9, 0.8), input_keep=0.7, mask="sample")

    dropouts = [layer for layer in built if isinstance(layer, Dropout1D)]
    assert [(layer.keep, layer.mask) for layer in dropouts] == [
        (0.7, "sample"),
        (0.9, "sample"),
        (0.8, "sample"),
    ]


def test_an_input_keep_leaves_the_first_weights_as_they_are() -> None:
    plain, dropping = make_network(hidden=(30,)), make_network(hidden=(30,), input_keep=0.5)

    pairs = zip(plain.parameters(), dropping.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_the_hidden_weights_are_those_of_all_layers_but_the_output() -> None:
    built = make_network(hidden=(30, 20), keep=(0.9, 0.8), input_keep=0.7)

    assert [weight.shape for weight in network.hidden_weights(built)] == [(30, 64), (20, 30)]
