"""The options that spell a spec: repeated ones make a grid."""

from collections.abc import Callable, Sequence
from typing import Any

import click

from models.errors import UsageError
from models.spec import ExperimentSpec
from service.cli.parameters import Seeds, dataset_choice
from service.grid import Grid, expand
from service.spelling import Value, read_drop, read_hidden, read_keep

#: Keep probabilities all below this are likely drop probabilities.
_SUSPICIOUS_KEEP = 0.5

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
    """Add the options to a command, as keyword arguments for `read_grid`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def read_grid(
    *,
    dropout: Sequence[str],
    drop: Sequence[str],
    hidden: Sequence[str],
    seed: Sequence[int],
    seeds: tuple[int, ...] | None,
    base: ExperimentSpec | None = None,
    **plain: Sequence[Any],
) -> Grid:
    """Return the specs that the options spell, what they leave out being as in `base`.

    Raises UsageError, naming the option at fault.
    """
    keep = [read_keep(typed) for typed in dropout] + [read_drop(typed) for typed in drop]
    widths = [read_hidden(typed) for typed in hidden]
    others = [_read_axis(field, values) for field, values in plain.items()]
    # The widths first: how many rates there must be depends on them.
    return expand([widths, keep, *others], read_seeds(seed, seeds, base), base)


def read_seeds(
    seed: Sequence[int], seeds: tuple[int, ...] | None, base: ExperimentSpec | None = None
) -> tuple[int, ...]:
    """Return the seeds of `--seed` or `--seeds`, or else that of `base`."""
    if seed and seeds:
        raise UsageError("--seed and --seeds exclude each other: give one of them")
    return seeds or tuple(seed) or (base.seed if base else 0,)


def warn_of_low_keep(dropout: Sequence[str]) -> str | None:
    """Say how else `--dropout` could be meant, if all its values are low."""
    for typed in dropout:
        rates = read_keep(typed).value
        if rates and max(rates) < _SUSPICIOUS_KEEP:
            shares = ", ".join(f"{rate:.0%}" for rate in rates)
            return (
                f"Warning: --dropout {typed} KEEPS only {shares} of the activations. "
                f"If these are to be dropped, type: --drop {typed}"
            )
    return None


def _read_axis(field: str, values: Sequence[Any]) -> list[Value]:
    option = f"--{field.replace('_', '-')}"
    return [Value(field, value, f"{option} {value}") for value in values]
