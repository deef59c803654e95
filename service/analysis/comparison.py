"""Compares configurations honestly: intervals, paired tests, and a verdict that can be "no"."""

import math
import statistics
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from models.errors import UsageError
from models.metrics import HIGHER_IS_BETTER
from models.spec import ExperimentSpec
from models.state import JobState
from service.formatting import describe_field, format_field, format_ids, plural
from service.queries.rows import ComparedJob

#: A difference is called better or worse when its corrected p is below this.
ALPHA = 0.05
#: "K more" seeds are those that would show the observed difference this often.
POWER = 0.8
#: With up to this many seeds a comparison asks for more rather than says "no evidence".
FEW_SEEDS = 3
#: More seeds than this are never asked for.
MOST_MORE_SEEDS = 20
#: The relative resolution of a float32, in which the losses are taken.
FLOAT32_RESOLUTION = 2.0**-23


@dataclass(frozen=True)
class ComparisonRow:
    """What is known of one configuration, and of its difference from the baseline.

    Figures are in the metric's own unit (accuracies are fractions). `low` to `high` and
    `difference_low` to `difference_high` are 95 % intervals, each on its own; `p_holm` alone is
    corrected for the number of rows. None means that there are too few seeds to say. `verdict` is
    "baseline", "better", "worse", "no evidence" or "too few seeds: K more", where K, also in
    `more_seeds`, is per configuration and besides those that are queued or running. Where these
    are enough it is "wait for K seeds", and where all have failed, "K seeds failed".
    """

    #: The configuration's spec; its seed means nothing.
    spec: ExperimentSpec
    configuration: str
    #: What sets it apart from the other rows, in words.
    label: str
    #: The jobs behind the figures, one a seed.
    jobs: tuple[int, ...]
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
    #: How many seeds the row shares with the baseline; a paired difference is of these alone.
    shared: int
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None
    #: "paired by seed" or "Welch"; None where nothing was tested.
    method: str | None = None
    p: float | None = None
    p_holm: float | None = None
    verdict: str = "baseline"
    more_seeds: int | None = None

    @property
    def unfinished(self) -> int:
        """How many seeds are queued or running."""
        return self.queued + self.running


@dataclass(frozen=True)
class Comparison:
    """Configurations beside a baseline, which is the first row, and the jobs in no mean."""

    metric: str
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

    @property
    def baseline(self) -> ComparisonRow:
        """The row that all others are compared with."""
        return self.rows[0]

    @property
    def higher_is_better(self) -> bool:
        """Whether more of the metric is better."""
        return HIGHER_IS_BETTER[self.metric]

    @property
    def decided(self) -> tuple[ComparisonRow, ...]:
        """The rows that are better or worse than the baseline."""
        return tuple(row for row in self.rows if row.verdict in {"better", "worse"})


def compare(
    runs: Iterable[ComparedJob],
    metric: str = "valid_accuracy",
    baseline: str | None = None,
    *,
    mix: bool = False,
) -> Comparison:
    """Compare the configurations among `runs` with a baseline, by Student's t over seeds.

    A difference is paired by seed where two seeds or more are shared, and Welch's (1947) where
    not; p is two-sided and corrected by Holm (1979) over all rows tested. Failed and unfinished
    runs are in no mean, a repeated seed counts once, cancelled runs are only listed.

    A spread is never taken as smaller than half an image of the evaluation set (for losses and
    seconds, than half the resolution of a float32): accuracies move in steps of one image, so two
    equal differences do not prove that there is no spread, and half a step is the most that a
    figure can spread over two neighbouring values. Identical results thus give p = 1, and a
    constant difference of up to four images at two seeds is not significant.

    `baseline` is a configuration's id, the beginning of one, or its label. Left out, it is the
    first configuration without dropout, or the first submitted. Raises UsageError for an unknown
    metric or baseline, no runs, and, without `mix`, runs of several data sets, evaluation sets or
    trainer versions.
    """
    ordered = sorted({run.job_id: run for run in runs}.values(), key=lambda run: run.job_id)
    kept = [run for run in ordered if run.state is not JobState.CANCELLED]
    _refuse_unknown(metric, kept)
    measured = [run for run in kept if _is_measured(run, metric)]
    if not mix:
        _refuse_mixtures(kept, measured)
    samples = _collect(kept, measured, metric)
    samples = _put_first(samples, _find_baseline(samples, baseline))
    varying = _find_varying([sample.spec for sample in samples])
    return Comparison(
        metric=metric,
        rows=_judge(samples, varying, metric),
        varying=varying,
        trainer_version=measured[0].trainer_version if measured else None,
        images=count_images(samples[0].spec, metric),
        sampling_noise=_estimate_sampling_noise(samples[0], metric),
        common=_pick_common(samples[0].spec, varying),
        **_list_left_out(ordered, measured, metric),
    )


def count_images(spec: ExperimentSpec, metric: str) -> int | None:
    """Return on how many images a metric is taken: the validation split or the last batch."""
    if metric == "seconds":
        return None
    if metric.startswith("valid"):
        return spec.evaluation_images
    return spec.images - (spec.batches - 1) * spec.batch_size


def describe_common(comparison: Comparison, without: Collection[str] = ()) -> str:
    """Say what all rows share, but for what everybody takes for granted."""
    told = [name for name in comparison.baseline.spec.described_fields if name not in without]
    if not comparison.varying:
        told.remove("keep")  # it labels the one row
    common = comparison.common
    return ", ".join(describe_field(name, common[name]) for name in told if name in common)


def correct_by_holm(ps: Sequence[float]) -> list[float]:
    """Correct p values for their number: Holm's step-down method (1979)."""
    corrected = [0.0] * len(ps)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        largest = max(largest, min(1.0, (len(ps) - rank) * ps[index]))
        corrected[index] = largest
    return corrected


@dataclass(frozen=True)
class _Sample:
    """The figures of one configuration by seed, and the jobs they are of, in the same order."""

    spec: ExperimentSpec
    figures: Mapping[int, float]
    jobs: tuple[int, ...]
    #: How many other seeds there are, by the state of their jobs.
    others: Mapping[JobState, int]


@dataclass(frozen=True)
class _Estimate:
    """A mean or a difference of means, with its standard error and degrees of freedom."""

    value: float
    error: float
    freedom: float
    #: Seeds on the smaller side.
    n: int
    method: str

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval."""
        from scipy.special import stdtrit

        half = float(stdtrit(self.freedom, 1 - ALPHA / 2)) * self.error
        return self.value - half, self.value + half

    @property
    def p(self) -> float:
        """The two-sided p of "the value is 0"; 1 where all figures are 0."""
        from scipy.special import stdtr

        return 2 * float(stdtr(self.freedom, -abs(self.value) / self.error)) if self.error else 1.0

    def is_detectable(self, more: int, alpha: float) -> bool:
        """Whether this value would be significant in most repeats with `more` seeds a side.

        The power of the t test, from the noncentral t (Cohen 1988, chapter 2).
        """
        from scipy.special import nctdtr, stdtrit

        n = self.n + more
        freedom = self.freedom * (n - 1) / (self.n - 1)
        shift = abs(self.value) / self.error * math.sqrt(n / self.n) if self.error else 0.0
        missed = float(nctdtr(freedom, shift, stdtrit(freedom, 1 - alpha / 2)))
        return not missed > 1 - POWER  # a shift past scipy's range gives NaN, and is detectable


def _estimate_mean(figures: Collection[float], quantum: float, method: str = "") -> _Estimate:
    """Estimate a mean (Student 1908); the spread is at least half a `quantum`."""
    n = len(figures)
    spread = max(statistics.stdev(figures), quantum / 2)
    return _Estimate(statistics.fmean(figures), spread / math.sqrt(n), n - 1, n, method)


def _estimate_difference(base: _Sample, other: _Sample, quantum: float) -> _Estimate | None:
    """Estimate other minus base, if both have two seeds."""
    shared = _share_seeds(base, other)
    if len(shared) > 1:
        differences = [other.figures[seed] - base.figures[seed] for seed in shared]
        return _estimate_mean(differences, quantum, "paired by seed")
    if min(len(base.figures), len(other.figures)) > 1:
        return _subtract(
            _estimate_mean(other.figures.values(), quantum),
            _estimate_mean(base.figures.values(), quantum),
        )
    return None


def _subtract(a: _Estimate, b: _Estimate) -> _Estimate:
    """Estimate a - b of unequal variances (Welch 1947), with Satterthwaite's freedom (1946)."""
    error = math.hypot(a.error, b.error)
    part = (a.error / error) ** 2 if error else 0.5
    freedom = 1 / (part**2 / a.freedom + (1 - part) ** 2 / b.freedom)
    return _Estimate(a.value - b.value, error, freedom, min(a.n, b.n), "Welch")


def _share_seeds(a: _Sample, b: _Sample) -> list[int]:
    return sorted(a.figures.keys() & b.figures.keys())


def _judge(
    samples: Sequence[_Sample], varying: tuple[str, ...], metric: str
) -> tuple[ComparisonRow, ...]:
    """Make the rows: every sample beside the first."""
    quantum = _find_quantum(samples, metric)
    base, *others = samples
    estimates = [_estimate_difference(base, other, quantum) for other in others]
    tested = [estimate.p for estimate in estimates if estimate]
    corrected = iter(correct_by_holm(tested))
    rows = [_describe(base, base, varying, quantum)]
    for other, estimate in zip(others, estimates, strict=True):
        row = _describe(base, other, varying, quantum)
        if estimate:
            row = _add_test(row, estimate, next(corrected), metric)
            seeds, more = estimate.n, _count_more_seeds(estimate, ALPHA / len(tested))
        else:
            row = _add_bare_difference(row, rows[0])
            seeds = min(row.n, rows[0].n)
            more = 2 - seeds
        rows.append(row if row.verdict else _leave_undecided(row, rows[0], seeds, more))
    return tuple(rows)


def _describe(
    base: _Sample, sample: _Sample, varying: tuple[str, ...], quantum: float
) -> ComparisonRow:
    """Make a row of a sample's own figures."""
    figures = sample.figures.values()
    repeated = len(figures) > 1
    low, high = _estimate_mean(figures, quantum).interval if repeated else (None, None)
    return ComparisonRow(
        spec=sample.spec,
        configuration=sample.spec.configuration,
        label=_label(sample.spec, varying),
        jobs=sample.jobs,
        n=len(figures),
        running=sample.others[JobState.RUNNING],
        queued=sample.others[JobState.QUEUED],
        failed=sample.others[JobState.FAILED],
        mean=statistics.fmean(figures) if figures else None,
        low=low,
        high=high,
        std=statistics.stdev(figures) if repeated else None,
        minimum=min(figures, default=None),
        maximum=max(figures, default=None),
        shared=len(_share_seeds(base, sample)),
    )


def _add_test(row: ComparisonRow, estimate: _Estimate, p_holm: float, metric: str) -> ComparisonRow:
    """Add a tested difference, and the verdict if it decides; else ""."""
    low, high = estimate.interval
    is_better = (estimate.value > 0) is HIGHER_IS_BETTER[metric]
    return replace(
        row,
        difference=estimate.value,
        difference_low=low,
        difference_high=high,
        method=estimate.method,
        p=estimate.p,
        p_holm=p_holm,
        verdict="" if p_holm >= ALPHA else "better" if is_better else "worse",
    )


def _add_bare_difference(row: ComparisonRow, base: ComparisonRow) -> ComparisonRow:
    """Add a difference that one seed a side lets see but not test."""
    difference = None if row.mean is None or base.mean is None else row.mean - base.mean
    return replace(row, difference=difference, verdict="")


def _leave_undecided(
    row: ComparisonRow, base: ComparisonRow, seeds: int, more: int | None
) -> ComparisonRow:
    """Say what it takes to decide: `more` than the seeds compared, of which some are coming."""
    for each, name in ((row, ""), (base, "baseline: ")):
        if each.failed and not each.n + each.unfinished:
            return replace(row, verdict=f"{name}{plural(each.failed, 'seed')} failed")
    if not more:
        return replace(row, verdict="no evidence")
    if coming := row.unfinished or base.unfinished:
        more = max(seeds + more - each.n - each.unfinished for each in (row, base))
    if more > 0:
        return replace(row, verdict=f"too few seeds: {more} more", more_seeds=more)
    return replace(row, verdict=f"wait for {plural(coming, 'seed')}")


def _count_more_seeds(estimate: _Estimate, alpha: float) -> int | None:
    """Return how many more seeds per configuration to ask for, or None to ask for none.

    `alpha` is divided by the number of tests (Bonferroni), a little stricter than Holm.
    """
    if estimate.n > FEW_SEEDS:
        return None
    counts = range(1, MOST_MORE_SEEDS + 1)
    return next((more for more in counts if estimate.is_detectable(more, alpha)), None)


def _find_quantum(samples: Sequence[_Sample], metric: str) -> float:
    """Return the smallest step the figures can make."""
    if metric.endswith("accuracy"):
        return 1 / min(count_images(sample.spec, metric) or 1 for sample in samples)
    figures = (abs(figure) for sample in samples for figure in sample.figures.values())
    return FLOAT32_RESOLUTION * max(figures, default=0.0)


def _estimate_sampling_noise(base: _Sample, metric: str) -> float | None:
    images = count_images(base.spec, metric)
    if not metric.endswith("accuracy") or not images or not base.figures:
        return None
    accuracy = statistics.fmean(base.figures.values())
    return math.sqrt(max(0.0, accuracy * (1 - accuracy)) / images)


def _is_measured(run: ComparedJob, metric: str) -> bool:
    return run.state is JobState.SUCCEEDED and math.isfinite(run.metrics.get(metric, math.nan))


def _collect(
    runs: Sequence[ComparedJob], measured: Sequence[ComparedJob], metric: str
) -> list[_Sample]:
    """Gather the configurations in the order of their first job; a seed's first run counts."""
    every: dict[str, list[ComparedJob]] = {}
    for run in runs:
        every.setdefault(run.spec.configuration, []).append(run)
    counted: dict[str, dict[int, ComparedJob]] = {name: {} for name in every}
    for run in measured:
        counted[run.spec.configuration].setdefault(run.spec.seed, run)
    return [_sample(every[name], counted[name].values(), metric) for name in every]


def _sample(runs: Sequence[ComparedJob], counted: Collection[ComparedJob], metric: str) -> _Sample:
    figures = {run.spec.seed: float(run.metrics[metric]) for run in counted}
    others = _count_others([run for run in runs if run.spec.seed not in figures])
    return _Sample(runs[0].spec, figures, tuple(run.job_id for run in counted), others)


def _count_others(runs: Sequence[ComparedJob]) -> Mapping[JobState, int]:
    """Count the seeds of runs that gave no figure, each once: a retry runs after a failure."""
    in_order = (JobState.FAILED, JobState.QUEUED, JobState.RUNNING)
    states = {run.spec.seed: run.state for state in in_order for run in runs if run.state is state}
    return Counter(states.values())


def _list_left_out(
    runs: Sequence[ComparedJob], measured: Sequence[ComparedJob], metric: str
) -> dict[str, tuple[int, ...]]:
    """List the jobs that are in no mean, by reason."""
    succeeded = _list_ids(runs, JobState.SUCCEEDED)
    usable = set(_list_ids(measured, JobState.SUCCEEDED))
    repeats = _find_repeats(measured)
    return {
        "failed": _list_ids(runs, JobState.FAILED),
        "unfinished": _list_ids(runs, JobState.QUEUED, JobState.RUNNING),
        "cancelled": _list_ids(runs, JobState.CANCELLED),
        "unmeasured": tuple(job_id for job_id in succeeded if job_id not in usable),
        "duplicates": tuple(run.job_id for run, _ in repeats),
        "disagreeing": tuple(
            run.job_id
            for run, first in repeats
            if metric != "seconds" and run.metrics[metric] != first.metrics[metric]
        ),
    }


def _find_repeats(runs: Iterable[ComparedJob]) -> list[tuple[ComparedJob, ComparedJob]]:
    """Pair each run of a spec that an earlier job already ran with that first run."""
    firsts: dict[tuple[str, int], ComparedJob] = {}
    pairs = [(run, firsts.setdefault((run.spec.configuration, run.spec.seed), run)) for run in runs]
    return [(run, first) for run, first in pairs if run is not first]


def _list_ids(runs: Iterable[ComparedJob], *states: JobState) -> tuple[int, ...]:
    return tuple(run.job_id for run in runs if run.state in states)


def _fields() -> list[str]:
    return [name for name in ExperimentSpec.model_fields if name != "seed"]


def _find_varying(specs: Sequence[ExperimentSpec]) -> tuple[str, ...]:
    """Name the fields that read differently; no dropout on two layers reads as on three."""
    return tuple(
        name
        for name in _fields()
        if len({format_field(name, getattr(spec, name)) for spec in specs}) > 1
    )


def _pick_common(spec: ExperimentSpec, varying: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(spec, name) for name in _fields() if name not in varying}


def _label(spec: ExperimentSpec, varying: tuple[str, ...]) -> str:
    told = [name for name in varying if name in spec.described_fields] or ["keep"]
    return " ".join(describe_field(name, getattr(spec, name)) for name in told)


def _find_baseline(samples: Sequence[_Sample], wanted: str | None) -> _Sample:
    if wanted is None:
        return next((sample for sample in samples if not sample.spec.has_dropout), samples[0])
    varying = _find_varying([sample.spec for sample in samples])
    found = [sample for sample in samples if _answers(sample.spec, varying, wanted)]
    if len(found) == 1:
        return found[0]
    choices = "; ".join(
        f"{sample.spec.configuration[:8]} ({_label(sample.spec, varying)})" for sample in samples
    )
    trouble = "matches several configurations" if found else "matches none of the configurations"
    raise UsageError(f"The baseline {wanted!r} {trouble}: give one of {choices}")


def _answers(spec: ExperimentSpec, varying: tuple[str, ...], wanted: str) -> bool:
    named = bool(wanted) and spec.configuration.startswith(wanted)
    return named or _label(spec, varying) == wanted


def _put_first(samples: Sequence[_Sample], first: _Sample) -> list[_Sample]:
    return [first, *(sample for sample in samples if sample is not first)]


def _refuse_unknown(metric: str, runs: Sequence[ComparedJob]) -> None:
    if metric not in HIGHER_IS_BETTER:
        raise UsageError(f"Unknown metric {metric!r}: use one of {', '.join(HIGHER_IS_BETTER)}")
    if not runs:
        raise UsageError(
            "There is nothing to compare: no jobs but cancelled ones. Type: dq results"
        )


def _refuse_mixtures(kept: Sequence[ComparedJob], measured: Sequence[ComparedJob]) -> None:
    _refuse_mixing("data set", [(run.spec.dataset, run.job_id) for run in kept])
    _refuse_mixing("evaluation set", [(run.spec.evaluation, run.job_id) for run in kept])
    _refuse_mixing("trainer version", [(run.trainer_version, run.job_id) for run in measured])


def _refuse_mixing(what: str, pairs: Iterable[tuple[object, int]]) -> None:
    """Refuse jobs of which some are of one kind and some of another; a pair is kind and id."""
    jobs: dict[str, set[int]] = {}
    for kind, job_id in pairs:
        jobs.setdefault("unknown" if kind is None else str(kind), set()).add(job_id)
    if len(jobs) < 2:  # noqa: PLR2004
        return
    listed = "; ".join(f"{kind} (jobs {format_ids(ids)})" for kind, ids in sorted(jobs.items()))
    one = format_ids(min(jobs.values(), key=min)).replace(",", "")
    raise UsageError(
        f"Figures of more than one {what} cannot be compared: {listed}. "
        f"Select the jobs of one: dq results --compare {one}, or compare them anyway: --mix"
    )
