"""The options that spell a spec: repeated ones make a grid."""

from collections.abc import Callable
from typing import Any

import click

from service.cli.parameters import Seeds, dataset_choice

_OPTIONS = (
    click.option(
        "--dropout",
        multiple=True,
        metavar="KEEP,...",
        help="Probability that an activation is KEPT, for each hidden layer; or none.",
    ),
    click.option(
        "--drop",
        multiple=True,
        metavar="DROP,...",
        help="The same as probabilities that it is DROPPED.",
    ),
    click.option(
        "--hidden",
        multiple=True,
        metavar="WIDTH,...",
        help="Widths of the hidden layers: 512,512,512 or 512x3.  [default: 8192x3]",
    ),
    click.option(
        "--lr", multiple=True, type=float, metavar="RATE", help="Learning rate.  [default: 0.1]"
    ),
    click.option(
        "--batch-size", multiple=True, type=int, help="Images per batch.  [default: 1000]"
    ),
    click.option("--epochs", multiple=True, type=int, help="Passes over them.  [default: 10]"),
    click.option(
        "--dataset", multiple=True, type=dataset_choice(), help="Data set.  [default: mnist]"
    ),
    click.option(
        "--train-size", multiple=True, type=int, help="Use the first so many training images only."
    ),
    click.option(
        "--input-keep", multiple=True, type=float, help="Keep probability of pixels.  [default: 1]"
    ),
    click.option(
        "--mask",
        multiple=True,
        type=click.Choice(["batch", "sample"]),
        help="One dropout mask a batch, or one a sample.  [default: batch]",
    ),
    click.option("--momentum", multiple=True, type=float, help="Of SGD.  [default: 0]"),
    click.option(
        "--max-norm", multiple=True, type=float, help="Limit of a hidden unit's weight vector."
    ),
    click.option(
        "--lr-decay", multiple=True, type=float, help="Times the rate, each epoch.  [default: 1]"
    ),
    click.option(
        "--evaluation",
        multiple=True,
        type=click.Choice(["valid", "test"]),
        help="Images that metrics are taken on.  [default: valid]",
    ),
    click.option(
        "--precision",
        multiple=True,
        type=click.Choice(["fp32", "tf32", "bf16"]),
        help="Of products; tf32 needs a GPU.  [default: fp32]",
    ),
    click.option("--seed", multiple=True, type=click.IntRange(0), help="One seed.  [default: 0]"),
    click.option("--seeds", type=Seeds(), help="How many seeds (5), or which (0..9)."),
)


def spec_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to a command, as keyword arguments for `service.typed_grid.read_grid`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
