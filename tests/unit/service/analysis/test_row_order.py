import itertools

import pytest

from models.errors import UsageError
from models.spec import ExperimentSpec
from models.state import JobState
from service.analysis.comparison import compare
from service.analysis.row_order import arrange
from service.queries.rows import ComparedJob

#: By rate: the learning rate, how many training images, and the figures of seeds 0 to 4.
ROWS = {
    1.0: (0.1, 1000, (0.950, 0.952, 0.949, 0.951, 0.953)),
    0.9: (0.3, None, (0.961, 0.960, 0.962, 0.959, 0.965)),
    0.8: (0.2, 2000, (0.940, 0.941, 0.939, 0.943)),
    0.7: (0.4, 1000, ()),
    0.6: (0.1, 3000, (0.955, 0.951, 0.958, 0.950, 0.953)),
}


@pytest.fixture
def jobs():
    ids = itertools.count(1)
    return [
        _make_job(next(ids), {"keep": (keep,), "lr": lr, "train_size": size, "seed": seed}, value)
        for keep, (lr, size, figures) in ROWS.items()
        for seed, value in enumerate(figures or [None])
    ]


def _make_job(job_id, spec, value):
    spec = ExperimentSpec(hidden=(16,), batch_size=100, **spec)
    if value is None:
        return ComparedJob(job_id, JobState.QUEUED, spec, None, {})
    return ComparedJob(job_id, JobState.SUCCEEDED, spec, 1, {"valid_accuracy": value})


def rates(comparison):
    return [row.spec.keep[0] for row in comparison.rows]


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        (None, [1.0, 0.9, 0.8, 0.7, 0.6]),
        ("mean", [1.0, 0.9, 0.6, 0.8, 0.7]),
        ("diff", [1.0, 0.9, 0.6, 0.8, 0.7]),
        ("diff:asc", [1.0, 0.8, 0.6, 0.9, 0.7]),
        ("p", [1.0, 0.9, 0.8, 0.6, 0.7]),
        ("p:desc", [1.0, 0.6, 0.8, 0.9, 0.7]),
        ("n", [1.0, 0.9, 0.6, 0.8, 0.7]),
        ("keep:asc", [1.0, 0.6, 0.7, 0.8, 0.9]),
        ("lr", [1.0, 0.7, 0.9, 0.8, 0.6]),
        ("train_size", [1.0, 0.9, 0.6, 0.8, 0.7]),
    ],
)
def test_rows_are_sorted_with_the_baseline_first_and_what_has_no_value_last(jobs, sort, expected):
    comparison = compare(jobs)

    assert rates(arrange(comparison, sort)) == expected


def test_of_a_loss_the_lowest_is_the_best(jobs):
    losses = [
        ComparedJob(job.job_id, job.state, job.spec, job.trainer_version, {"valid_loss": value})
        for job in jobs
        for value in job.metrics.values()
    ]

    assert rates(arrange(compare(losses, "valid_loss"), "mean")) == [1.0, 0.8, 0.6, 0.9]
    assert rates(arrange(compare(losses, "valid_loss"), top=1)) == [1.0, 0.8]


def test_the_best_are_left_with_the_baseline_and_judged_as_before(jobs):
    whole = compare(jobs)

    best = arrange(whole, top=2)

    assert rates(best) == [1.0, 0.9, 0.6]
    assert (best.tests, best.not_shown) == (4, 2)
    assert all(row in whole.rows for row in best.rows)
    assert rates(arrange(whole, "keep:asc", top=2)) == [1.0, 0.6, 0.9]
    assert arrange(whole, top=9).not_shown == 0


def test_the_rows_of_strata_are_sorted_and_left_out_alike(jobs):
    narrow = [
        ComparedJob(
            job.job_id + 100,
            job.state,
            job.spec.model_copy(update={"mask": "sample", "lr": 0.1, "train_size": None}),
            job.trainer_version,
            {name: value + 0.01 for name, value in job.metrics.items()},
        )
        for job in jobs
    ]
    wide = [
        ComparedJob(
            job.job_id,
            job.state,
            job.spec.model_copy(update={"lr": 0.1, "train_size": None}),
            job.trainer_version,
            job.metrics,
        )
        for job in jobs
    ]

    best = arrange(compare([*wide, *narrow], by=["mask"]), "keep:asc", top=2)

    assert rates(best) == [1.0, 0.6, 0.9]
    assert [rates(stratum) for stratum in best.strata] == [[1.0, 0.6, 0.9]] * 2


@pytest.mark.parametrize("sort", ["age", "valid_accuracy", "lr:up", "seed"])
def test_an_unknown_order_is_refused_with_the_choices(jobs, sort):
    with pytest.raises(UsageError, match=rf"^--sort {sort}: with --compare, give one of mean, "):
        arrange(compare(jobs), sort)
