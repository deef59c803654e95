"""The options that spell a spec: repeated ones make a grid."""

from collections.abc import Callable, Sequence
from typing import Any

import click

from models.errors import UsageError
from service.cli.parameters import Seeds, dataset_choice
from service.grid import Grid, Value, expand

#: Keep probabilities all below this are likely drop probabilities.
_SUSPICIOUS_KEEP = 0.5
_DIGITS = 12  # 1 - 0.1 is 0.9, and not 0.90000000000000002

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
    **plain: Sequence[Any],
) -> Grid:
    """Return the specs that the options spell; raise UsageError, naming the option at fault."""
    if seed and seeds:
        raise UsageError("--seed and --seeds exclude each other: give one of them")
    keep = [_read_keep(typed) for typed in dropout] + [_read_drop(typed) for typed in drop]
    widths = [_read_hidden(typed) for typed in hidden]
    others = [_read_axis(field, values) for field, values in plain.items()]
    # The widths first: how many rates there must be depends on them.
    return expand([widths, keep, *others], seeds or tuple(seed) or (0,))


def warn_of_low_keep(dropout: Sequence[str]) -> str | None:
    """Say how else `--dropout` could be meant, if all its values are low."""
    for typed in dropout:
        rates = () if typed == "none" else _read_numbers("--dropout", typed, float)
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


def _read_keep(typed: str) -> Value:
    rates = () if typed == "none" else _read_numbers("--dropout", typed, float)
    return Value("keep", rates, f"--dropout {typed}")


def _read_drop(typed: str) -> Value:
    rates = () if typed == "none" else _read_numbers("--drop", typed, float)
    return Value("keep", tuple(round(1 - rate, _DIGITS) for rate in rates), f"--drop {typed}")


def _read_hidden(typed: str) -> Value:
    width, times, layers = typed.partition("x")
    if times and width.isdecimal() and layers.isdecimal() and 0 < int(layers) <= 100:  # noqa: PLR2004
        return Value("hidden", (int(width),) * int(layers), f"--hidden {typed}")
    return Value("hidden", _read_numbers("--hidden", typed, int), f"--hidden {typed}")


def _read_numbers(option: str, typed: str, kind: Callable[[str], Any]) -> tuple[Any, ...]:
    try:
        return tuple(kind(part) for part in typed.split(","))
    except ValueError:
        example = {"--hidden": "512,512,512 or 512x3"}.get(option, "0.9,0.8,0.8 or none")
        raise UsageError(f"{option} {typed}: write a number a hidden layer, {example}") from None
