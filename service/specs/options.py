"""Parses a grid as a person gives it, in the options of `dq submit` or in a form."""

from collections.abc import Sequence
from typing import Any

from models.errors import UsageError
from models.spec import ExperimentSpec
from service.specs.grid import Grid, expand
from service.specs.parsing import FieldValue, option_name, parse_drop, parse_hidden, parse_keep

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
    **others: Sequence[Any],
) -> Grid:
    """Return the specs that the options give, what they leave out being as in `base`.

    Raises UsageError, naming the option at fault.
    """
    keep = [*map(parse_keep, dropout), *map(parse_drop, drop)]
    axes = [
        [FieldValue(field, value, f"{option_name(field)} {value}") for value in values]
        for field, values in others.items()
    ]
    # The widths first: how many rates there must be depends on them.
    return expand(
        [[*map(parse_hidden, hidden)], keep, *axes], choose_seeds(seed, seeds, base), base
    )


def parse_base(**options: Any) -> ExperimentSpec:
    """Return the spec that options of one value each give; raise UsageError for a second value."""
    for name, values in options.items():
        if len(values) > 1:
            raise UsageError(
                f"{option_name(name)} is given {len(values)} times: here it takes one value"
            )
    return parse_grid(dropout=(), drop=(), seed=(), seeds=None, **options).specs[0]


def choose_seeds(
    seed: Sequence[int], seeds: tuple[int, ...] | None, base: ExperimentSpec | None = None
) -> tuple[int, ...]:
    """Return the seeds of `--seed` or `--seeds`, or else that of `base`."""
    if seed and seeds:
        raise UsageError("--seed and --seeds exclude each other: give one of them")
    return seeds or tuple(seed) or (base.seed if base else 0,)


def warn_about_low_keep(dropout: Sequence[str]) -> str | None:
    """Return a warning if all values of a `--dropout` are low, as drop probabilities are."""
    for text in dropout:
        rates = parse_keep(text).value
        if rates and max(rates) < _SUSPICIOUS_KEEP:
            shares = ", ".join(f"{rate:.0%}" for rate in rates)
            return (
                f"Warning: --dropout {text} KEEPS only {shares} of the activations. "
                f"If these are to be dropped, type: --drop {text}"
            )
    return None
