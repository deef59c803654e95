"""Expands what a person typed into specs: each repeated option an axis, and the seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from pydantic import ValidationError

from models.errors import UsageError
from models.spec import ExperimentSpec


@dataclass(frozen=True)
class Value:
    """One value of a spec's field, and how it was typed, for the error that may name it."""

    field: str
    value: Any
    typed: str


@dataclass(frozen=True)
class Grid:
    """The specs of a sweep, all configurations of a seed before those of the next."""

    specs: tuple[ExperimentSpec, ...]
    configurations: int
    seeds: int

    def __str__(self) -> str:
        counts = (self.configurations, "configuration"), (self.seeds, "seed")
        product = " x ".join(_count(*each) for each in counts)
        return f"{product} = {_count(len(self.specs), 'job')}"


def expand(axes: Sequence[Sequence[Value]], seeds: Sequence[int]) -> Grid:
    """Return a spec for each combination of the axes' values, and each seed.

    Raises UsageError, naming the option as it was typed, if a combination is no experiment.
    """
    combinations = [_build(values) for values in product(*(axis for axis in axes if axis))]
    configurations = list({spec.configuration: spec for spec in combinations}.values())
    specs = [
        spec.model_copy(update={"seed": seed})
        for seed in dict.fromkeys(seeds)
        for spec in configurations
    ]
    return Grid(tuple(specs), len(configurations), len(specs) // len(configurations))


def _build(values: Sequence[Value]) -> ExperimentSpec:
    fields = {value.field: value.value for value in values}
    try:
        return ExperimentSpec.model_validate(fields)
    except ValidationError as error:
        raise _explain(error, {value.field: value.typed for value in values}) from None


def _explain(error: ValidationError, typed: Mapping[str, str]) -> UsageError:
    """Put pydantic's first complaint in the words of the command line."""
    first = error.errors(include_url=False)[0]
    field = str(first["loc"][0])
    words = typed.get(field, f"The default {field}")
    return UsageError(f"{words}: {_say(field, first)}")


def _say(field: str, problem: Any) -> str:
    if problem["type"] == "value_error":
        return str(problem["ctx"]["error"])
    limits = {
        "keep": "a keep probability is above 0 and at most 1 (1 drops nothing)",
        "hidden": "a layer's width is a whole number from 1",
        "lr": "a learning rate is a number above 0",
        "batch_size": "a batch has at least 1 image",
        "train_size": "it takes at least 1 training image",
        "epochs": "it takes at least 1 epoch",
    }
    return limits.get(field, str(problem["msg"]))


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
