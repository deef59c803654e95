"""Reads a grid as a person types it, in the options of a submit or in a form."""

from collections.abc import Sequence
from typing import Any

from models.errors import UsageError
from models.spec import ExperimentSpec
from service.specs.grid import Grid, expand
from service.specs.parsing import FieldValue, parse_drop, parse_hidden, parse_keep

#: Keep probabilities all below this are likely drop probabilities.
_SUSPICIOUS_KEEP = 0.5


def parse_grid(
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
    keep = [parse_keep(typed) for typed in dropout] + [parse_drop(typed) for typed in drop]
    widths = [parse_hidden(typed) for typed in hidden]
    others = [_read_axis(field, values) for field, values in plain.items()]
    # The widths first: how many rates there must be depends on them.
    return expand([widths, keep, *others], choose_seeds(seed, seeds, base), base)


def choose_seeds(
    seed: Sequence[int], seeds: tuple[int, ...] | None, base: ExperimentSpec | None = None
) -> tuple[int, ...]:
    """Return the seeds of `--seed` or `--seeds`, or else that of `base`."""
    if seed and seeds:
        raise UsageError("--seed and --seeds exclude each other: give one of them")
    return seeds or tuple(seed) or (base.seed if base else 0,)


def warn_about_low_keep(dropout: Sequence[str]) -> str | None:
    """Say how else `--dropout` could be meant, if all its values are low."""
    for typed in dropout:
        rates = parse_keep(typed).value
        if rates and max(rates) < _SUSPICIOUS_KEEP:
            shares = ", ".join(f"{rate:.0%}" for rate in rates)
            return (
                f"Warning: --dropout {typed} KEEPS only {shares} of the activations. "
                f"If these are to be dropped, type: --drop {typed}"
            )
    return None


def _read_axis(field: str, values: Sequence[Any]) -> list[FieldValue]:
    option = f"--{field.replace('_', '-')}"
    return [FieldValue(field, value, f"{option} {value}") for value in values]
