"""Says in words what a comparison shows, and what a reader must know to trust it."""

import itertools
from collections.abc import Iterable

from service.analysis.comparison import Comparison, ComparisonRow, Stratum
from service.analysis.statistics import ALPHA, ANY_TIME, FIXED_SEEDS
from service.formatting import (
    describe_difference,
    describe_field,
    format_jobs,
    format_p,
    label,
    plural,
)

#: At most this many rows get a sentence each in the conclusion.
_MAX_SENTENCES = 3
_VALIDITY = {
    ANY_TIME.name: "Intervals and p hold however often you look or add seeds (any-time t test)",
    FIXED_SEEDS.name: "Intervals and p are for seeds fixed beforehand (Student's t test)",
}


def conclude(comparison: Comparison) -> str:
    """Say in plain words what the comparison shows."""
    baseline = _name(comparison, comparison.baseline)
    decided = sorted(comparison.decided, key=lambda row: row.p_holm or 0.0)
    if decided:
        sentences = [_conclude_row(comparison, row) for row in decided[:_MAX_SENTENCES]]
        left = len(decided) - len(sentences)
        return " ".join([*sentences, *([f"See the verdicts for {left} more."] if left else [])])
    if len(comparison.rows) == 1:
        return "There is only one configuration, and nothing to compare it with."
    shown = " shown" if comparison.not_shown else ""
    if any(row.more_seeds for row in comparison.rows):
        return f"Too few seeds to call any configuration{shown} better or worse than {baseline}."
    if any(row.verdict.startswith("wait") for row in comparison.rows):
        jobs = plural(len(comparison.unfinished), "job")
        are = "is" if len(comparison.unfinished) == 1 else "are"
        return f"{jobs} {are} queued or running: wait for the results before you submit more."
    return f"No configuration{shown} can be called better or worse than {baseline}."


def _conclude_row(comparison: Comparison, row: ComparisonRow) -> str:
    """Say that a decided row is better or worse than the baseline, and by how much.

    The row comes first: "no dropout beats keep 0.5" reads as if no dropout at all did.
    """
    name, other = (_name(comparison, each) for each in (row, comparison.baseline))
    margin = describe_difference(comparison.metric, row.difference or 0.0)
    p = format_p(row.p_holm or 0.0)
    equation = f"p {p[0]} {p[1:]}" if p.startswith("<") else f"p = {p}"
    where = f" on average over {describe_strata(comparison, row)}" if comparison.by else ""
    finding = f"{row.verdict} than {other} by {margin}{where} ({equation})"
    return f"{name[0].upper()}{name[1:]} is {finding}."


def describe_strata(comparison: Comparison, row: ComparisonRow) -> str:
    """Write over how many strata a row is pooled: "4 strata", "3 of 4 strata"."""
    all = comparison.baseline.strata
    return f"{format_strata(all, row.strata)} {'stratum' if all == 1 else 'strata'}"


def _name(comparison: Comparison, row: ComparisonRow) -> str:
    """Write a row's label with commas, as a sentence needs them."""
    return label(row.spec, comparison.varying, separator=", ")


def format_strata(all: int, strata: int) -> str:
    """Write how many strata of all a row is pooled over: "4", "3 of 4"."""
    return str(all) if strata == all else f"{strata} of {all}"


def list_notes(comparison: Comparison, selector: str | None) -> Iterable[str]:
    """List what a reader must know to trust the figures, the conclusion first."""
    yield conclude(comparison)
    yield from _note_missing_seeds(comparison, selector)
    yield from _note_test(comparison)
    yield from _note_strata(comparison)
    yield from _note_not_shown(comparison)
    yield from _note_noise(comparison)
    yield from _note_left_out(comparison)
    yield from _note_repeats(comparison)


def _note_missing_seeds(comparison: Comparison, selector: str | None) -> Iterable[str]:
    """Say how to run the seeds that are missing; those of decided rows are not run."""
    if not comparison.undecided:
        return
    jobs = selector
    has_more = comparison.decided or comparison.not_shown or _list_strata_alone(comparison)
    if has_more or not jobs:
        jobs = ",".join(map(str, _list_first_jobs(comparison)))
    seeds = max(row.fill_to or 0 for row in comparison.undecided)
    yield f"For more seeds: dq submit --fill {jobs} --seeds {seeds}"


def _list_first_jobs(comparison: Comparison) -> list[int]:
    """List a job of each configuration, in all strata, that needs more seeds; and of the baseline.

    Strata without the baseline need none.
    """
    labels = {row.label for row in (comparison.baseline, *comparison.undecided)}
    strata = [stratum.rows for stratum in comparison.strata if stratum.has_baseline]
    rows = itertools.chain(*strata) if comparison.by else comparison.rows
    return sorted(row.first_job for row in rows if row.label in labels)


def _note_test(comparison: Comparison) -> Iterable[str]:
    if all(row.p is None for row in comparison.rows):
        return
    corrected = f", corrected for {comparison.tests} tests (Holm)" if comparison.tests > 1 else ""
    within = " within each stratum, over seeds that all strata have"
    where = within if comparison.by else ", over shared seeds"
    yield (
        f"Differences are from {_name(comparison, comparison.baseline)}{where}. "
        f"{_VALIDITY[comparison.test]}{corrected}; better or worse where p < {ALPHA}."
    )


def _note_strata(comparison: Comparison) -> Iterable[str]:
    if any(row.strata < comparison.baseline.strata for row in comparison.rows):
        yield "Over fewer strata, compare the difference and not the mean."
    if alone := _list_strata_alone(comparison):
        names = "; ".join(
            ", ".join(describe_field(name, value) for name, value in each.values.items())
            for each in alone
        )
        yield f"Not pooled, for want of {_name(comparison, comparison.baseline)}: {names}."


def _list_strata_alone(comparison: Comparison) -> list[Stratum]:
    """List the strata without the baseline."""
    return [each for each in comparison.strata if not each.has_baseline]


def _note_not_shown(comparison: Comparison) -> Iterable[str]:
    if comparison.not_shown:
        more = plural(comparison.not_shown, "more row")
        yield f"Not shown: {more}, for which p is corrected, too."


def _note_noise(comparison: Comparison) -> Iterable[str]:
    if comparison.sampling_noise is not None and comparison.images:
        yield (
            f"Sampling noise: {comparison.images:,} images fix an accuracy only to a standard "
            f"error of {describe_difference('accuracy', comparison.sampling_noise)}; more seeds do "
            "not reduce it."
        )


def _note_left_out(comparison: Comparison) -> Iterable[str]:
    kinds = {name: name for name in ("failed", "unfinished", "cancelled")}
    kinds["unmeasured"] = "without this metric"
    parts = [
        f"{len(ids):,} {words} ({format_jobs(ids)})"
        for kind, words in kinds.items()
        if (ids := getattr(comparison, kind))
    ]
    if parts:
        yield f"Not included: {', '.join(parts)}."


def _note_repeats(comparison: Comparison) -> Iterable[str]:
    if comparison.duplicates:
        repeats = format_jobs(comparison.duplicates)
        yield f"Each seed counts once, so repeats are not included: {repeats}."
    if comparison.disagreeing:
        yield (
            f"Of these, {format_jobs(comparison.disagreeing)} gave a different figure for the same "
            "spec. Was it another kind of device?"
        )
