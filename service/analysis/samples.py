"""Gathers jobs into samples, a configuration each, and says which jobs are left out."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from models.errors import UsageError
from models.spec import ExperimentSpec
from models.state import JobState
from service.analysis.statistics import Values
from service.formatting import format_ids, format_jobs
from service.queries.rows import ComparedJob


@dataclass(frozen=True)
class Sample:
    """A metric of one configuration by seed, and the jobs it is of, in the same order."""

    spec: ExperimentSpec
    #: The first job of the configuration, whether it has a value or not.
    first_job: int
    values: Values
    jobs: tuple[int, ...]
    #: The seeds without a value, by the state of their jobs.
    missing: Mapping[JobState, frozenset[int]]

    @property
    def jobs_by_seed(self) -> Mapping[int, int]:
        """The job behind each value."""
        return dict(zip(self.values, self.jobs, strict=True))

    @property
    def seeds(self) -> frozenset[int]:
        """All seeds, with a value or without."""
        return frozenset(self.values).union(*self.missing.values())

    @property
    def expected(self) -> frozenset[int]:
        """The seeds that have a value, or are to get one from a queued or running job."""
        coming = self.missing[JobState.QUEUED] | self.missing[JobState.RUNNING]
        return coming.union(self.values)


def is_measured(job: ComparedJob, metric: str) -> bool:
    """Whether a job succeeded with a finite value of the metric."""
    return job.state is JobState.SUCCEEDED and math.isfinite(job.metrics.get(metric, math.nan))


def collect_samples(jobs: Sequence[ComparedJob], metric: str) -> list[Sample]:
    """Gather the configurations in the order of their first job; a seed's first job counts."""
    by_configuration: dict[str, list[ComparedJob]] = {}
    for job in jobs:
        by_configuration.setdefault(job.spec.configuration, []).append(job)
    return [_make_sample(group, metric) for group in by_configuration.values()]


def _make_sample(jobs: Sequence[ComparedJob], metric: str) -> Sample:
    counted: dict[int, ComparedJob] = {}
    for job in jobs:
        if is_measured(job, metric):
            counted.setdefault(job.spec.seed, job)
    return Sample(
        spec=jobs[0].spec,
        first_job=jobs[0].job_id,
        values={seed: float(job.metrics[metric]) for seed, job in counted.items()},
        jobs=tuple(job.job_id for job in counted.values()),
        missing=_group_missing([job for job in jobs if job.spec.seed not in counted]),
    )


def _group_missing(jobs: Collection[ComparedJob]) -> Mapping[JobState, frozenset[int]]:
    """Group the seeds without a value, each once: a retry is queued or runs after a failure."""
    in_order = (JobState.FAILED, JobState.QUEUED, JobState.RUNNING)
    states = {job.spec.seed: job.state for state in in_order for job in jobs if job.state is state}
    return {
        state: frozenset(seed for seed in states if states[seed] is state) for state in in_order
    }


def list_left_out(jobs: Sequence[ComparedJob], metric: str) -> dict[str, tuple[int, ...]]:
    """List the jobs that are in no mean, by reason."""
    measured = [job for job in jobs if is_measured(job, metric)]
    repeats = _find_repeats(measured)
    used = {job.job_id for job in measured}
    return {
        "failed": _list_ids(jobs, JobState.FAILED),
        "unfinished": _list_ids(jobs, JobState.QUEUED, JobState.RUNNING),
        "cancelled": _list_ids(jobs, JobState.CANCELLED),
        "unmeasured": tuple(id for id in _list_ids(jobs, JobState.SUCCEEDED) if id not in used),
        "duplicates": tuple(job.job_id for job, _ in repeats),
        "disagreeing": tuple(
            job.job_id
            for job, first in repeats
            if metric != "seconds" and job.metrics[metric] != first.metrics[metric]
        ),
    }


def _find_repeats(jobs: Iterable[ComparedJob]) -> list[tuple[ComparedJob, ComparedJob]]:
    """Pair each job with the first job of the same spec, if that is another."""
    firsts: dict[tuple[str, int], ComparedJob] = {}
    pairs = [(job, firsts.setdefault((job.spec.configuration, job.spec.seed), job)) for job in jobs]
    return [(job, first) for job, first in pairs if job is not first]


def _list_ids(jobs: Iterable[ComparedJob], *states: JobState) -> tuple[int, ...]:
    return tuple(job.job_id for job in jobs if job.state in states)


def refuse_mixtures(jobs: Sequence[ComparedJob], metric: str) -> None:
    """Raise UsageError for jobs of several data sets, evaluation sets or trainer versions."""
    measured = [job for job in jobs if is_measured(job, metric)]
    _refuse_mixture("data set", [(job.spec.dataset, job.job_id) for job in jobs])
    _refuse_mixture("evaluation set", [(job.spec.evaluation, job.job_id) for job in jobs])
    _refuse_mixture("trainer version", [(job.trainer_version, job.job_id) for job in measured])


def _refuse_mixture(what: str, pairs: Iterable[tuple[object, int]]) -> None:
    """Raise UsageError if there are several kinds of jobs; a pair is a kind and a job's id."""
    ids: dict[str, set[int]] = {}
    for kind, job_id in pairs:
        ids.setdefault("unknown" if kind is None else str(kind), set()).add(job_id)
    if len(ids) < 2:  # noqa: PLR2004
        return
    listed = "; ".join(f"{kind} (jobs {format_ids(these)})" for kind, these in sorted(ids.items()))
    one = format_ids(min(ids.values(), key=min)).replace(",", "")
    raise UsageError(
        f"Figures of more than one {what} cannot be compared: {listed}. "
        f"Select the jobs of one: dq results --compare {one}, or compare them anyway: --mix"
    )


def refuse_added_seeds(jobs: Iterable[ComparedJob]) -> None:
    """Raise UsageError if a job was submitted after another had ended: its seed was added."""
    jobs = [job for job in jobs if job.created_at]
    ends = [(job.finished_at, job.job_id) for job in jobs if job.finished_at]
    if not ends:
        return
    first_end, first = min(ends)
    added = [job.job_id for job in jobs if job.created_at and job.created_at > first_end]
    if added:
        raise UsageError(
            f"--fixed-seeds is for seeds that were all submitted before the first result: "
            f"{format_jobs(added)} came after job {first} had ended. Leave --fixed-seeds out: the "
            "verdicts then hold however often seeds are added"
        )
