"""Reads a grid by factor: strata, the treatments within them, and samples pooled over strata."""

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from models.errors import UsageError
from models.spec import ExperimentSpec
from models.state import JobState
from service.analysis.samples import Sample
from service.analysis.strata import group_by_stratum
from service.formatting import find_varying, format_field, label

#: The values, as written, of the factors under study.
Treatment = tuple[str, ...]


@dataclass(frozen=True)
class Design:
    """Samples by stratum and treatment; strata differ in `by`, treatments in `factors`.

    Where `by` is empty, there is one stratum, and each configuration is a treatment.
    """

    by: tuple[str, ...]
    factors: tuple[str, ...]
    strata: tuple[Mapping[Treatment, Sample], ...]

    @cached_property
    def treatments(self) -> Mapping[Treatment, Sequence[Sample]]:
        """The samples of each treatment, in the order of their first jobs."""
        found: dict[Treatment, list[Sample]] = {}
        for treatment, sample in sorted(self._walk(), key=lambda pair: pair[1].first_job):
            found.setdefault(treatment, []).append(sample)
        return found

    def _walk(self) -> Iterator[tuple[Treatment, Sample]]:
        return (pair for stratum in self.strata for pair in stratum.items())

    @property
    def varying(self) -> tuple[str, ...]:
        """The fields in which configurations differ."""
        return (*self.by, *self.factors)

    def merge(self, treatment: Treatment) -> ExperimentSpec:
        """Return a spec with the treatment's factors; its other fields are those of one stratum."""
        specs = [sample.spec for sample in self.treatments[treatment]]
        return specs[0] if len({spec.keep for spec in specs}) == 1 else _shorten_keep(specs[0])

    def label(self, treatment: Treatment) -> str:
        """Describe what sets a treatment apart."""
        return label(self.merge(treatment), self.factors)

    def match(self, baseline: Treatment) -> dict[Treatment, "Match"]:
        """Pair each treatment with the baseline, which comes first, where any stratum has both.

        Raises UsageError if no stratum has both the baseline and something else.
        """
        found = {each: self._match(each, baseline) for each in (baseline, *self.treatments)}
        matches = {treatment: match for treatment, match in found.items() if match}
        if self.by and len(matches) == 1:
            raise UsageError(
                f"--by {','.join(self.by)}: no stratum holds {self.label(baseline)} and anything "
                f"to compare with it: {_list_fields(self.varying)}"
            )
        return matches

    def _match(self, treatment: Treatment, baseline: Treatment) -> "Match | None":
        both = [each for each in self.strata if treatment in each and baseline in each]
        if not both:
            return None
        sample, base = (_pool([each[key] for each in both]) for key in (treatment, baseline))
        return Match(sample, base, len(both))


@dataclass(frozen=True)
class Match:
    """A treatment's sample and the baseline's, both pooled over the strata that have both."""

    sample: Sample
    base: Sample
    strata: int


def make_design(samples: Sequence[Sample], by: Sequence[str]) -> Design:
    """Arrange the samples by stratum; raise UsageError for fields that make no strata."""
    varying = [name for name in find_varying([each.spec for each in samples]) if name != "seed"]
    for name in by:
        _refuse_field(name, varying)
    factors = tuple(name for name in varying if name not in by)
    groups = group_by_stratum(samples, factors)
    groups.sort(key=lambda group: [_order(getattr(group[0].spec, name)) for name in by])
    strata = [{_name_treatment(each.spec, factors): each for each in group} for group in groups]
    return Design(tuple(by), factors, tuple(strata))


def _order(value: Any) -> Any:
    """Return what sorts a field's value; none is all images, or no limit."""
    return math.inf if value is None else value


def parse_by(text: str) -> tuple[str, ...]:
    """Return the fields that "lr,hidden" names, each once; raise UsageError if it names none."""
    names = dict.fromkeys(name for part in text.split(",") if (name := part.strip()))
    if not names:
        raise UsageError(f"--by {text!r} names no field: give some with commas, such as lr,hidden")
    return tuple(names)


def _refuse_field(name: str, varying: Sequence[str]) -> None:
    if name not in varying:
        problem = "does not vary among these configurations"
    elif name == "keep":
        problem = "is what is compared within the strata"
    else:
        return
    raise UsageError(f"--by: {name} {problem}: {_list_fields(varying)}")


def _list_fields(varying: Sequence[str]) -> str:
    return f"the fields that vary are {', '.join(varying)}" if varying else "no field varies"


def _name_treatment(spec: ExperimentSpec, factors: Sequence[str]) -> Treatment:
    """Write the factors' values; one rate in all layers is the same on however many of them."""
    shortened = _shorten_keep(spec)
    return tuple(format_field(name, getattr(shortened, name)) for name in factors)


def _shorten_keep(spec: ExperimentSpec) -> ExperimentSpec:
    return spec.model_copy(update={"keep": spec.keep[:1]}) if len(set(spec.keep)) == 1 else spec


def _pool(samples: Sequence[Sample]) -> Sample:
    """Return the means over strata of the seeds that all of them have."""
    first, *others = samples
    if not others:
        return first
    shared = [seed for seed in first.values if all(seed in each.values for each in others)]
    return replace(
        first,
        values={seed: statistics.fmean(each.values[seed] for each in samples) for seed in shared},
        jobs=tuple(each.jobs_by_seed[seed] for each in samples for seed in shared),
        missing=_pool_missing(samples),
    )


def _pool_missing(samples: Sequence[Sample]) -> Mapping[JobState, frozenset[int]]:
    """Group the seeds that all strata run by what keeps them from a value in all."""
    left = frozenset.intersection(*(each.seeds for each in samples))
    missing = {}
    for state in (JobState.FAILED, JobState.QUEUED, JobState.RUNNING):
        anywhere = frozenset().union(*(each.missing[state] for each in samples))
        missing[state] = left & anywhere
        left -= anywhere
    return missing
