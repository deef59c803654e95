"""Compares configurations with a baseline: rows of figures, and a verdict for each."""

import math
import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from models.errors import UsageError
from models.metrics import HIGHER_IS_BETTER
from models.spec import ExperimentSpec
from models.state import JobState
from service.analysis.baseline import find_baseline
from service.analysis.factors import Design, Match, Treatment, make_design
from service.analysis.samples import (
    Sample,
    collect_samples,
    is_measured,
    list_left_out,
    refuse_added_seeds,
    refuse_mixtures,
)
from service.analysis.statistics import (
    ANY_TIME,
    FIXED_SEEDS,
    DifferenceTest,
    Family,
    Values,
    assess_differences,
    estimate_interval,
)
from service.analysis.verdicts import Contest
from service.formatting import describe_fields
from service.queries.rows import ComparedJob

#: The relative resolution of a float32, in which the losses are taken.
FLOAT32_RESOLUTION = 2.0**-23


@dataclass(frozen=True)
class ComparisonRow:
    """The figures of one configuration, and its difference from the baseline.

    Figures are in the metric's own unit (accuracies are fractions), and None where there are too
    few seeds; an any-time interval needs 4. `low` to `high` and `difference_low` to
    `difference_high` are 95 % intervals, each on its own; `p_holm` alone is corrected for the
    number of rows. A row that is pooled over strata has the mean over them for each seed that all
    have.
    """

    #: The configuration's spec; its seed means nothing, nor what the strata of the row differ in.
    spec: ExperimentSpec
    configuration: str
    #: What sets it apart from the other rows, in words.
    label: str
    #: The configuration's first job, which may have no figures.
    first_job: int
    #: The jobs behind the figures, one a seed.
    jobs: tuple[int, ...]
    #: The metric by seed, of those jobs.
    values: Values
    n: int
    #: The seeds that are not in `n`, by the state of their jobs.
    running: int
    queued: int
    failed: int
    mean: float | None
    low: float | None
    high: float | None
    #: With n - 1 in the denominator.
    std: float | None
    minimum: float | None
    maximum: float | None
    #: How many seeds the row shares with the baseline; the difference is of these alone.
    shared: int
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None
    p: float | None = None
    p_holm: float | None = None
    #: "baseline", "better", "worse", "within X pt" of the baseline, "no evidence", or "too few
    #: seeds: K more"; "wait for K seeds" where those queued or running are enough, "K seeds failed"
    #: where all have failed. Within a stratum "", since only what is pooled is judged.
    verdict: str = "baseline"
    #: That K: shared seeds, besides those that are queued or running.
    more_seeds: int | None = None
    #: The number of seeds, from 0 on, that brings them; None where no more are asked for.
    fill_to: int | None = None
    #: Over how many strata the row is pooled.
    strata: int = 1

    @property
    def unfinished(self) -> int:
        """How many seeds are queued or running."""
        return self.queued + self.running

    @property
    def missing(self) -> int:
        """How many seeds have no figure: queued, running or failed."""
        return self.unfinished + self.failed

    @property
    def is_open(self) -> bool:
        """Whether more seeds could still decide it."""
        return self.verdict.startswith(("no evidence", "too few seeds", "wait for"))


@dataclass(frozen=True)
class Stratum:
    """Configurations that are equal in some fields, each beside the baseline among them.

    Its differences have intervals, and no p and no verdict. Without a baseline, it is not pooled.
    """

    #: Those fields, with their values.
    values: Mapping[str, Any]
    rows: tuple[ComparisonRow, ...]

    @property
    def has_baseline(self) -> bool:
        """Whether one of its configurations, the first row, is the baseline."""
        return self.rows[0].verdict == "baseline"


@dataclass(frozen=True)
class Comparison:
    """Configurations beside a baseline, which is the first row, and the jobs in no mean.

    Of a grid that is read by factor, the rows are pooled over the strata that have the baseline.
    """

    metric: str
    #: "any-time", or "fixed seeds": Student's t test.
    test: str
    #: How many differences were tested, for which p is corrected.
    tests: int
    rows: tuple[ComparisonRow, ...]
    #: The spec's fields, seed apart, in which the rows differ.
    varying: tuple[str, ...]
    #: The fields in which they do not, with their values.
    common: Mapping[str, Any]
    trainer_version: int | None
    #: How many images the metric is taken on; None for seconds.
    images: int | None
    #: The standard error of the baseline's mean accuracy that the images' number alone makes, as
    #: a fraction: sqrt(a (1 - a) / images). None for other metrics.
    sampling_noise: float | None
    failed: tuple[int, ...]
    unfinished: tuple[int, ...]
    cancelled: tuple[int, ...]
    #: Succeeded, but without this metric.
    unmeasured: tuple[int, ...]
    #: Repeats of a seed that an earlier job already gave.
    duplicates: tuple[int, ...]
    #: Those repeats whose figure is another; equal specs should give equal figures.
    disagreeing: tuple[int, ...]
    #: The fields in which the strata differ.
    by: tuple[str, ...] = ()
    strata: tuple[Stratum, ...] = ()

    @property
    def not_shown(self) -> int:
        """How many of the rows that were judged have been left out."""
        return self.tests + 1 - len(self.rows)

    @property
    def baseline(self) -> ComparisonRow:
        """The row that all others are compared with."""
        return self.rows[0]

    @property
    def undecided(self) -> tuple[ComparisonRow, ...]:
        """The rows for which more seeds are asked for."""
        return tuple(row for row in self.rows if row.more_seeds)

    @property
    def higher_is_better(self) -> bool:
        """Whether more of the metric is better."""
        return HIGHER_IS_BETTER[self.metric]

    @property
    def decided(self) -> tuple[ComparisonRow, ...]:
        """The rows that are better or worse than the baseline."""
        return tuple(row for row in self.rows if row.verdict in {"better", "worse"})


def compare(
    jobs: Iterable[ComparedJob],
    metric: str = "valid_accuracy",
    baseline: str | None = None,
    *,
    baseline_jobs: Collection[int] | None = None,
    by: Sequence[str] = (),
    mix: bool = False,
    fixed_seeds: bool = False,
    smallest: float | None = None,
) -> Comparison:
    """Compare the configurations among `jobs` with a baseline, as `assess_differences` does.

    Failed and unfinished jobs are in no mean, a repeated seed counts once, cancelled jobs are only
    listed. Differences are of the seeds that a configuration shares with the baseline, and judged
    by the any-time test, or with `fixed_seeds` by Student's. Where `smallest` is given, a
    difference that is known to be smaller is "within" it.

    Fields in `by` make strata, whose configurations are equal in them. A row is then what is the
    same in several strata: for each seed that all of these have, it has the mean over strata, and
    so has the baseline beside it. These rows alone are tested.

    A spread is never taken as smaller than half an image of the evaluation set (for losses and
    seconds, than half the resolution of a float32): accuracies move in steps of one image, so two
    equal differences do not prove that there is no spread, and half a step is the most that a
    figure can spread over two neighbouring values. Identical results thus give p = 1.

    `baseline` is a configuration's id, the beginning of one, its label or its rate; or a condition,
    which `baseline_jobs` meet. Left out, it is the first configuration without dropout, or the
    first submitted. Raises UsageError for an unknown metric or baseline, no jobs, fields that make
    no strata, without `mix` jobs of several data sets, evaluation sets or trainer versions, and
    with `fixed_seeds` seeds that were added after the first job had ended.
    """
    ordered = sorted({job.job_id: job for job in jobs}.values(), key=lambda job: job.job_id)
    uncancelled = [job for job in ordered if job.state is not JobState.CANCELLED]
    _refuse_unknown(metric, uncancelled)
    if not mix:
        refuse_mixtures(uncancelled, metric)
    if fixed_seeds:
        refuse_added_seeds(uncancelled)
    samples = collect_samples(uncancelled, metric)
    design = make_design(samples, by)
    chosen = find_baseline(design, baseline, _list_configurations(uncancelled, baseline_jobs))
    matches = design.match(chosen)
    test = FIXED_SEEDS if fixed_seeds else ANY_TIME
    family = Family(test, len(matches) - 1, _find_step(samples, metric), smallest)
    base = matches[chosen].sample
    versions = (job.trainer_version for job in uncancelled if is_measured(job, metric))
    return Comparison(
        metric=metric,
        test=test.name,
        tests=family.size,
        rows=_make_rows(design, matches, metric, family),
        varying=design.factors,
        common={name: value for name, value in base.spec if name not in {*design.varying, "seed"}},
        trainer_version=next(versions, None),
        images=count_images(base.spec, metric),
        sampling_noise=_estimate_sampling_noise(base, metric),
        **list_left_out(ordered, metric),
        by=design.by,
        strata=tuple(_list_strata(design, chosen, family)) if by else (),
    )


def _list_configurations(
    jobs: Iterable[ComparedJob], ids: Collection[int] | None
) -> set[str] | None:
    """Return the configurations that any of these jobs are of."""
    return None if ids is None else {job.spec.configuration for job in jobs if job.job_id in ids}


def count_images(spec: ExperimentSpec, metric: str) -> int | None:
    """Return on how many images a metric is taken: the evaluation set or the last batch."""
    if metric == "seconds":
        return None
    if metric.startswith("valid"):
        return spec.evaluation_images
    return spec.images - (spec.batches - 1) * spec.batch_size


def find_step(specs: Iterable[ExperimentSpec], values: Iterable[float], metric: str) -> float:
    """Return the smallest step that a metric of these specs can make."""
    if metric.endswith("accuracy"):
        return 1 / min(count_images(spec, metric) or 1 for spec in specs)
    return FLOAT32_RESOLUTION * max(map(abs, values), default=0.0)


def describe_common(comparison: Comparison, without: Collection[str] = ()) -> str:
    """Describe what all rows have in common."""
    labelling = {*comparison.varying} or {"keep"}
    spec, hidden = comparison.baseline.spec, {*labelling, *comparison.by, *without, "seed"}
    return describe_fields(spec, [name for name in spec.described_fields if name not in hidden])


def _make_rows(
    design: Design, matches: Mapping[Treatment, Match], metric: str, family: Family
) -> tuple[ComparisonRow, ...]:
    """Make the rows, each but the first with its difference from the baseline."""
    first, *others = (
        _describe(design, treatment, matches[treatment], family) for treatment in matches
    )
    pairs = [*matches.values()][1:]
    tests = assess_differences([(each.sample.values, each.base.values) for each in pairs], family)
    return (
        first,
        *(
            _judge(row, Contest(match.sample, match.base, test, metric, family))
            for row, match, test in zip(others, pairs, tests, strict=True)
        ),
    )


def _describe(design: Design, treatment: Treatment, match: Match, family: Family) -> ComparisonRow:
    """Make a row of a treatment's own figures."""
    row = _summarize(match.sample, design.label(treatment), family)
    if not design.by:
        return row
    return replace(row, spec=design.merge(treatment), strata=match.strata)


def _list_strata(design: Design, baseline: Treatment, family: Family) -> Iterable[Stratum]:
    for samples in design.strata:
        spec = next(iter(samples.values())).spec
        values = {name: getattr(spec, name) for name in design.by}
        yield Stratum(values, tuple(_list_rows(design, samples, baseline, family)))


def _list_rows(
    design: Design, stratum: Mapping[Treatment, Sample], baseline: Treatment, family: Family
) -> Iterable[ComparisonRow]:
    """List a stratum's rows, the baseline first if it has one; nothing is judged."""
    base = stratum.get(baseline)
    for treatment in sorted(stratum, key=lambda each: each != baseline):
        row = _summarize(stratum[treatment], design.label(treatment), family)
        if treatment == baseline:
            yield row
        elif base is None:
            yield replace(row, shared=0, verdict="")
        else:
            (test,) = assess_differences([(stratum[treatment].values, base.values)], family)
            yield replace(_add_difference(row, test), verdict="")


def _summarize(sample: Sample, label: str, family: Family) -> ComparisonRow:
    """Make a row of a sample's own figures."""
    values = sample.values.values()
    low, high = estimate_interval(values, family.step, family.test) or (None, None)
    return ComparisonRow(
        spec=sample.spec,
        configuration=sample.spec.configuration,
        label=label,
        first_job=sample.first_job,
        jobs=sample.jobs,
        values=sample.values,
        n=len(values),
        running=len(sample.missing[JobState.RUNNING]),
        queued=len(sample.missing[JobState.QUEUED]),
        failed=len(sample.missing[JobState.FAILED]),
        mean=statistics.fmean(values) if values else None,
        low=low,
        high=high,
        std=statistics.stdev(values) if len(values) > 1 else None,
        minimum=min(values, default=None),
        maximum=max(values, default=None),
        shared=len(values),
    )


def _judge(row: ComparisonRow, contest: Contest) -> ComparisonRow:
    """Add a row's difference from the baseline, and its verdict."""
    test, verdict = contest.test, contest.judge()
    return replace(
        _add_difference(row, test),
        p=test.p,
        p_holm=test.p_holm,
        verdict=verdict.text,
        more_seeds=verdict.more_seeds,
        fill_to=verdict.fill_to,
    )


def _add_difference(row: ComparisonRow, test: DifferenceTest) -> ComparisonRow:
    low, high = test.interval or (None, None)
    return replace(
        row,
        shared=test.n,
        difference=test.difference,
        difference_low=low,
        difference_high=high,
    )


def _find_step(samples: Sequence[Sample], metric: str) -> float:
    values = (value for sample in samples for value in sample.values.values())
    return find_step([sample.spec for sample in samples], values, metric)


def _estimate_sampling_noise(base: Sample, metric: str) -> float | None:
    images = count_images(base.spec, metric)
    if not metric.endswith("accuracy") or not images or not base.values:
        return None
    accuracy = statistics.fmean(base.values.values())
    return math.sqrt(max(0.0, accuracy * (1 - accuracy)) / images)


def _refuse_unknown(metric: str, jobs: Sequence[ComparedJob]) -> None:
    if metric not in HIGHER_IS_BETTER:
        raise UsageError(f"Unknown metric {metric!r}: use one of {', '.join(HIGHER_IS_BETTER)}")
    if not jobs:
        raise UsageError(
            "There is nothing to compare: no jobs but cancelled ones. Type: dq results"
        )
