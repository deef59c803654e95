"""Finds the baseline of a comparison among its treatments, from what a person typed."""

from collections.abc import Callable, Collection

from models.errors import UsageError
from models.spec import ExperimentSpec
from service.analysis.factors import Design, Treatment
from service.formatting import label
from service.specs.parsing import parse_keep


def find_baseline(
    design: Design, wanted: str | None, meeting: Collection[str] | None = None
) -> Treatment:
    """Return the treatment that a person wants: by its label, its rate, or a configuration's id.

    Where the wish is a condition, `meeting` holds the ids of the configurations that meet it.
    Without a wish, it is the first treatment without dropout, or else the first one. Raises
    UsageError, with the choices, for what matches none or several.
    """
    if wanted is None:
        return _find_default(design)
    found = _find_matching(design, _list_ways(design, wanted, meeting))
    if len(found) == 1:
        return found[0]
    trouble = "matches several configurations" if found else "matches none of the configurations"
    choices = "; ".join(_describe(design, each) for each in found or design.treatments)
    raise UsageError(f"The baseline {wanted!r} {trouble}: give one of {choices}")


def _find_default(design: Design) -> Treatment:
    treatments = design.treatments
    plain = (each for each in treatments if not treatments[each][0].spec.has_dropout)
    return next(plain, next(iter(treatments)))


_Way = Callable[[ExperimentSpec], bool]


def _list_ways(design: Design, wanted: str, meeting: Collection[str] | None) -> list[_Way]:
    """List the ways to read a wish, the first of which that matches anything counts."""
    if meeting is not None:
        return [lambda spec: spec.configuration in meeting]
    fields = (design.varying, design.factors)
    return [
        lambda spec: wanted in {label(spec, names) for names in fields},
        lambda spec: _has_rates(spec, wanted),
        lambda spec: bool(wanted) and spec.configuration.startswith(wanted),
    ]


def _find_matching(design: Design, ways: Collection[_Way]) -> list[Treatment]:
    for is_meant in ways:
        found = [
            treatment
            for treatment, samples in design.treatments.items()
            if any(is_meant(sample.spec) for sample in samples)
        ]
        if found:
            return found
    return []


def _has_rates(spec: ExperimentSpec, text: str) -> bool:
    """Whether "0.9,0.8" are the spec's rates; one rate is that of every layer."""
    try:
        rates = parse_keep(text).value or (1.0,)
    except UsageError:
        return False
    return spec.keep in {rates, rates * len(spec.keep)}


def _describe(design: Design, treatment: Treatment) -> str:
    text = design.label(treatment)
    if design.by:
        return text
    return f"{design.treatments[treatment][0].spec.configuration[:8]} ({text})"
