"""Builds the specs of a grid: all combinations of the given values, each with each seed."""

import random
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from pydantic import ValidationError

from models.errors import UsageError
from models.spec import ExperimentSpec
from service.formatting import format_field, plural
from service.specs.parsing import FieldValue, option_name

_SEEDS = 2**63  # of ExperimentSpec.seed


@dataclass(frozen=True)
class Grid:
    """The specs of a sweep, all configurations of a seed before those of the next."""

    specs: tuple[ExperimentSpec, ...]
    configurations: int

    @property
    def seeds(self) -> int:
        """How many different seeds there are."""
        return len({spec.seed for spec in self.specs})

    def __str__(self) -> str:
        configurations = plural(self.configurations, "configuration")
        jobs = plural(len(self.specs), "job")
        if self.configurations * self.seeds != len(self.specs):
            return f"{configurations}, {jobs}"
        return f"{configurations} x {plural(self.seeds, 'seed')} = {jobs}"


def expand(
    axes: Sequence[Sequence[FieldValue]], seeds: Sequence[int], base: ExperimentSpec | None = None
) -> Grid:
    """Return a spec for each combination of the axes' values, and each seed.

    What no axis gives is as in `base`, or by default. Raises UsageError, naming the value at fault,
    if a combination is not a valid experiment.
    """
    combinations = product(*(axis for axis in axes if axis))
    return repeat([build_spec(values, base) for values in combinations], seeds)


def repeat(specs: Iterable[ExperimentSpec], seeds: Sequence[int]) -> Grid:
    """Return each configuration among the specs with each of the seeds.

    Raises UsageError for a seed that no spec takes.
    """
    if wrong := [seed for seed in seeds if not 0 <= seed < _SEEDS]:
        raise UsageError(f"--seed {wrong[0]}: {_LIMITS['seed']}")
    configurations = list({spec.configuration: spec for spec in specs}.values())
    repeated = [
        spec.model_copy(update={"seed": seed})
        for seed in dict.fromkeys(seeds)
        for spec in configurations
    ]
    return Grid(tuple(repeated), len(configurations))


def deduplicate(specs: Iterable[ExperimentSpec]) -> Grid:
    """Return the grid of these specs, each once."""
    unique = list(dict.fromkeys(specs))
    return Grid(tuple(unique), len({spec.configuration for spec in unique}))


def sample(grid: Grid, size: int) -> Grid:
    """Return `size` of the grid's configurations, drawn at random: the same ones each time."""
    names = list(dict.fromkeys(spec.configuration for spec in grid.specs))
    drawn = set(random.Random(0).sample(names, min(size, len(names))))
    return deduplicate(spec for spec in grid.specs if spec.configuration in drawn)


def build_spec(values: Sequence[FieldValue], base: ExperimentSpec | None = None) -> ExperimentSpec:
    """Return the spec of these values, the others being as in `base`, or by default."""
    given = {value.field: value.value for value in values}
    kept = base.model_dump() if base else {}
    if "hidden" in given and "keep" not in given and base and set(base.keep) == {1.0}:
        del kept["keep"]  # no dropout is no dropout on however many layers
    try:
        return ExperimentSpec.model_validate(kept | given)
    except ValidationError as error:
        origins = {
            name: f"{option_name(name)} {format_field(name, value)} (of the job)"
            for name, value in base or ()
        }
        origins |= {value.field: value.origin for value in values}
        raise _explain(error, origins) from None


def _explain(error: ValidationError, origins: Mapping[str, str]) -> UsageError:
    """Put pydantic's first error in the words of the command line."""
    first = error.errors(include_url=False)[0]
    field = str(first["loc"][0])
    origin = origins.get(field, f"{option_name(field)} {first['input']} (the default)")
    if first["type"] == "value_error":
        problem = str(first["ctx"]["error"])
    elif re.search(r"(--|: )drop ", origin):
        problem = "a drop probability is at least 0 and below 1 (0 drops nothing)"
    else:
        problem = _LIMITS.get(field, first["msg"])
    return UsageError(f"{origin}: {problem}")


#: What an error says of a value that is not a number, or is out of the field's range.
_LIMITS = {
    "keep": "a keep probability is above 0 and at most 1 (1 drops nothing)",
    "hidden": "a layer's width is a whole number from 1 to 1,000,000, and there are at most 1,000",
    "lr": "a learning rate is a finite number above 0",
    "batch_size": "a batch has at least 1 image",
    "train_size": "it takes at least 1 training image",
    "epochs": "epochs are a whole number from 1 to 2,147,483,647",
    "input_keep": "a keep probability is above 0 and at most 1 (1 drops nothing)",
    "momentum": "a momentum is at least 0 and below 1 (0 is plain SGD)",
    "max_norm": "a max-norm is a finite number above 0; leave it out for no limit",
    "lr_decay": "a decay is above 0 and at most 1 (1 keeps the rate)",
    "seed": "a seed is a whole number from 0, and below 2**63",
}
