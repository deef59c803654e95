"""What a tuning chooses from: ranges of rates, and the spec of all else."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from models.errors import UsageError
from models.spec import ExperimentSpec
from service.specs.grid import build_spec
from service.specs.parsing import FieldValue, Range

#: The options of the ranges, by the spec's fields.
OPTIONS = {"keep": "--keep", "lr": "--lr", "input_keep": "--input-keep"}
#: Two different floating-point numbers differ within these first digits.
_MOST_DIGITS = 17


@dataclass(frozen=True)
class Space:
    """The ranges of what is tuned, and the spec of all else; `keep` is that of each hidden layer.

    Raises UsageError, naming the option, for a range that no spec takes, or without dropout.
    """

    base: ExperimentSpec
    keep: Range
    input_keep: Range
    lr: Range

    def __post_init__(self) -> None:
        for name, values in self.ranges.items():
            for end in (values.low, values.high):
                build_spec([_field(name, end, f"{OPTIONS[name]} {values}")], self.base)
        if not self.tuned:
            raise UsageError(
                "There is nothing to tune: give a range to --keep, --input-keep or --lr, such as "
                "--keep 0.4..1. For two configurations type: dq submit, and dq results --compare"
            )
        if self.keep.low == self.input_keep.low == 1:
            raise UsageError("There is no dropout to tune: give --keep or --input-keep below 1")

    @property
    def ranges(self) -> Mapping[str, Range]:
        """All ranges, by field."""
        return {name: getattr(self, name) for name in OPTIONS}

    @property
    def tuned(self) -> Mapping[str, Range]:
        """Those of more than one value."""
        return {name: values for name, values in self.ranges.items() if not values.is_single}

    @property
    def varying(self) -> list[str]:
        """The fields in which configurations differ, those without dropout among them."""
        names = {*self.tuned, *(["keep"] if self.keep.low < 1 else [])}
        return [name for name in OPTIONS if name in names]

    @property
    def holds_no_dropout(self) -> bool:
        """Whether a grid of the ranges holds the configurations without dropout."""
        return self.keep.high == self.input_keep.high == 1

    def build(self, values: Mapping[str, float]) -> ExperimentSpec:
        """Return the spec of these values; a field that they leave out has one value."""
        given = {**{name: each.low for name, each in self.ranges.items()}, **values}
        fields = [_field(name, value, OPTIONS[name]) for name, value in given.items()]
        return build_spec(fields, self.base)

    def spread(self, name: str, count: int) -> tuple[float, ...]:
        """Return `count` values of a field, or the single one, from end to end of its range.

        They are evenly spaced, learning rates by their logarithms, but for rounding to few digits.
        """
        values = self.ranges[name]
        if values.is_single:
            return (values.low,)
        return _spread_logarithms(values, count) if name == "lr" else _spread(values, count)


def _field(name: str, value: float, origin: str) -> FieldValue:
    return FieldValue(name, (value,) if name == "keep" else value, origin)


def _spread(values: Range, count: int) -> tuple[float, ...]:
    width = (values.high - values.low) / (count - 1)
    inner = [values.low + width * step for step in range(1, count - 1)]
    return _round_apart((values.low, *inner, values.high), digits=2)


def _spread_logarithms(values: Range, count: int) -> tuple[float, ...]:
    ratio = (values.high / values.low) ** (1 / (count - 1))
    inner = [values.low * ratio**step for step in range(1, count - 1)]
    return _round_apart((values.low, *inner, values.high), digits=1)


def _round_apart(values: tuple[float, ...], digits: int) -> tuple[float, ...]:
    """Round all but the ends to `digits` significant digits, or to as many as keep them apart."""
    low, *inner, high = values
    rounded = (low, *(round_digits(value, digits) for value in inner), high)
    if all(a < b for a, b in pairwise(rounded)):
        return rounded
    if digits == _MOST_DIGITS:
        raise UsageError(f"There are no {len(values)} numbers in {low}..{high}: widen the range")
    return _round_apart(values, digits + 1)


def round_digits(value: float, digits: int) -> float:
    """Round to `digits` significant digits."""
    return float(f"{value:.{digits}g}")
