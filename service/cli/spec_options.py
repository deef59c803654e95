"""The options that describe a spec: repeated ones make a grid."""

from collections.abc import Callable, Sequence
from typing import Any

import click

from service.cli.parameters import DATASET, SEEDS, whole_number

_RATES = (
    click.option(
        "--dropout",
        multiple=True,
        metavar="KEEP,...",
        help="Probability that an activation is KEPT: one for all hidden layers (0.8), "
        "one for each (0.9,0.8,0.8), or none.",
    ),
    click.option(
        "--drop",
        multiple=True,
        metavar="DROP,...",
        help="The same, as the probability that it is DROPPED.",
    ),
    click.option(
        "--input-keep", multiple=True, type=float, help="Keep probability of pixels.  [default: 1]"
    ),
    click.option(
        "--lr", multiple=True, type=float, metavar="RATE", help="Learning rate.  [default: 0.1]"
    ),
)
#: What a tuning takes one value of.
_OTHERS = (
    click.option(
        "--hidden",
        multiple=True,
        metavar="WIDTH,...",
        help="Widths of the hidden layers: 512,512,512 or 512x3.  [default: 8192x3]",
    ),
    click.option(
        "--batch-size", multiple=True, type=int, help="Images per batch.  [default: 1000]"
    ),
    click.option(
        "--epochs", multiple=True, type=int, help="Passes over the training images.  [default: 10]"
    ),
    click.option("--dataset", multiple=True, type=DATASET, help="Data set.  [default: mnist]"),
    click.option("--train-size", multiple=True, type=int, help="Train on the first N images only."),
    click.option(
        "--mask",
        multiple=True,
        type=click.Choice(["batch", "sample"]),
        help="One dropout mask for each batch, or for each sample.  [default: batch]",
    ),
    click.option("--momentum", multiple=True, type=float, help="Momentum of SGD.  [default: 0]"),
    click.option(
        "--max-norm",
        multiple=True,
        type=float,
        help="Longest that a hidden unit's weight vector may be (L2).",
    ),
    click.option(
        "--lr-decay",
        multiple=True,
        type=float,
        help="Factor of the learning rate after each epoch.  [default: 1]",
    ),
    click.option(
        "--precision",
        multiple=True,
        type=click.Choice(["fp32", "tf32", "bf16"]),
        help="Of matrix products; tf32 needs a GPU.  [default: fp32]",
    ),
)
_RUNS = (
    click.option(
        "--evaluation",
        multiple=True,
        type=click.Choice(["valid", "test"]),
        help="Images on which metrics are taken.  [default: valid]",
    ),
    click.option(
        "--seed", multiple=True, type=whole_number(0, 2**63 - 1), help="One seed.  [default: 0]"
    ),
    click.option("--seeds", type=SEEDS, help="How many seeds (5), or which (0..9)."),
)


def spec_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to a command, as keyword arguments for `service.specs.options.parse_grid`."""
    return _add((*_RATES, *_OTHERS, *_RUNS), command)


def base_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that a tuning takes one value of, for `service.specs.options.parse_base`."""
    return _add(_OTHERS, command)


def _add(options: Sequence[Callable[..., Any]], command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(options):
        command = option(command)
    return command
