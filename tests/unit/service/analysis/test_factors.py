import itertools
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from models.errors import UsageError
from models.spec import ExperimentSpec
from models.state import JobState
from service.analysis import anytime
from service.analysis.comparison import compare
from service.analysis.factors import parse_by
from service.analysis.statistics import correct_by_holm
from service.queries.rows import ComparedJob

NONE = {0: 0.950, 1: 0.952, 2: 0.949, 3: 0.951, 4: 0.953}
HALF = {0: 0.961, 1: 0.960, 2: 0.962, 3: 0.959, 4: 0.965}
WIDE_NONE = {0: 0.970, 1: 0.968, 2: 0.971, 3: 0.969, 4: 0.974}
WIDE_HALF = {0: 0.972, 1: 0.975, 2: 0.971, 3: 0.974, 4: 0.979}
SLOW, FAST = {"lr": 0.1}, {"lr": 0.3}


def make_jobs(*groups):
    """Make the jobs of specs with figures by seed, in place of which a job's state may stand."""
    ids = itertools.count(1)
    return [
        _make_job(next(ids), ExperimentSpec(**{"hidden": (16, 16), **spec}, seed=seed), figure)
        for spec, figures in groups
        for seed, figure in figures.items()
    ]


def _make_job(job_id, spec, figure):
    if isinstance(figure, JobState):
        return ComparedJob(job_id, figure, spec, None, {})
    return ComparedJob(job_id, JobState.SUCCEEDED, spec, 1, {"valid_accuracy": figure})


def half(figures, **spec):
    return {**spec, "keep": (0.5,)}, figures


@pytest.fixture
def grid():
    """A rate and no dropout, at two learning rates."""
    return make_jobs((SLOW, NONE), half(HALF, **SLOW), (FAST, WIDE_NONE), half(WIDE_HALF, **FAST))


def test_a_line_is_of_the_seeds_means_over_strata(grid):
    comparison = compare(grid, by=["lr"])

    base, row = comparison.rows
    means = {seed: (HALF[seed] + WIDE_HALF[seed]) / 2 for seed in HALF}
    differences = [
        statistics.fmean([HALF[seed] - NONE[seed], WIDE_HALF[seed] - WIDE_NONE[seed]])
        for seed in HALF
    ]
    expected = stats.ttest_1samp(differences, 0)
    assert row.values == pytest.approx(means)
    assert row.difference == pytest.approx(statistics.fmean(differences))
    assert row.p == pytest.approx(anytime.find_p(expected.statistic, 5), rel=1e-9)
    assert (base.label, base.verdict, base.strata) == ("no dropout", "baseline", 2)
    assert (row.label, row.verdict, row.strata, row.n) == ("keep 0.5,0.5", "better", 2, 5)


def test_p_is_corrected_for_the_lines_and_not_for_the_rows_of_the_strata(grid):
    mild = make_jobs(*(({**lr, "keep": (0.9,)}, HALF) for lr in (SLOW, FAST)))
    jobs = [*grid, *(_renumber(job, 100) for job in mild)]

    comparison = compare(jobs, by=["lr"])

    rows = comparison.rows[1:]
    assert comparison.tests == 2
    assert [row.p_holm for row in rows] == correct_by_holm([row.p for row in rows])


def _renumber(job, more):
    return ComparedJob(job.job_id + more, job.state, job.spec, job.trainer_version, job.metrics)


def test_within_a_stratum_differences_have_intervals_and_no_verdict(grid):
    slow, fast = compare(grid, by=["lr"]).strata

    base, row = slow.rows
    alone = compare([job for job in grid if job.spec.lr == 0.1]).rows[1]
    assert (slow.values, fast.values) == ({"lr": 0.1}, {"lr": 0.3})
    assert (base.verdict, row.verdict, row.p, row.p_holm) == ("baseline", "", None, None)
    assert row.difference == alone.difference
    assert (row.difference_low, row.difference_high) == (
        alone.difference_low,
        alone.difference_high,
    )


def test_a_seed_counts_that_all_strata_have():
    jobs = make_jobs(
        (SLOW, NONE),
        half({**HALF, **dict.fromkeys([2, 5, 6], JobState.QUEUED)}, **SLOW),
        (FAST, WIDE_NONE),
        half({0: 0.972, 1: 0.975, 2: JobState.FAILED, 3: JobState.RUNNING, 5: 0.98}, **FAST),
    )

    base, row = compare(jobs, by=["lr"]).rows

    assert (base.n, sorted(row.values), row.shared) == (5, [0, 1], 2)
    assert (row.failed, row.running, row.queued) == (1, 1, 1)
    assert row.jobs == (6, 7, 18, 19)


def test_a_rate_that_a_stratum_lacks_is_pooled_over_the_others_and_so_is_its_baseline(grid):
    jobs = [*grid, *(_renumber(job, 100) for job in make_jobs(({"lr": 1.0}, NONE)))]

    base, row = compare(jobs, by=["lr"]).rows

    assert (base.strata, row.strata) == (3, 2)
    assert row.difference == compare(grid, by=["lr"]).rows[1].difference


def test_a_stratum_without_the_baseline_is_shown_and_not_pooled(grid):
    jobs = [*grid, *(_renumber(job, 100) for job in make_jobs(half(HALF, lr=1.0)))]

    comparison = compare(jobs, by=["lr"])

    assert [stratum.has_baseline for stratum in comparison.strata] == [True, True, False]
    (row,) = comparison.strata[2].rows
    assert (row.mean, row.difference, row.verdict) == (statistics.fmean(HALF.values()), None, "")
    assert comparison.rows == compare(grid, by=["lr"]).rows


def test_a_line_waits_for_the_seeds_that_all_strata_are_to_get():
    coming = dict.fromkeys(range(8), JobState.QUEUED)
    jobs = make_jobs((SLOW, NONE), half(HALF, **SLOW), (FAST, WIDE_NONE), half(coming, **FAST))

    assert compare(jobs, by=["lr"]).rows[1].verdict == "wait for 5 seeds"


def test_a_line_is_not_judged_where_all_seeds_of_a_stratum_failed():
    failed = dict.fromkeys(range(5), JobState.FAILED)
    jobs = make_jobs((SLOW, NONE), half(HALF, **SLOW), (FAST, WIDE_NONE), half(failed, **FAST))

    assert compare(jobs, by=["lr"]).rows[1].verdict == "5 seeds failed"


def test_strata_are_in_the_order_of_their_fields():
    fields = ({"lr": lr, "train_size": size} for lr in (1, 0.5) for size in (None, 2000))
    jobs = make_jobs(*(each for spec in fields for each in ((spec, NONE), half(HALF, **spec))))

    strata = compare(jobs, by=["lr", "train_size"]).strata

    assert [(*stratum.values.values(),) for stratum in strata] == [
        (0.5, 2000),
        (0.5, None),
        (1, 2000),
        (1, None),
    ]


def test_one_rate_in_all_layers_is_the_same_on_however_many_of_them():
    deep = {"hidden": (16, 16, 16)}
    jobs = make_jobs(({}, NONE), half(HALF), (deep, WIDE_NONE), half(WIDE_HALF, **deep))

    comparison = compare(jobs, by=["hidden"])

    assert [row.label for row in comparison.rows] == ["no dropout", "keep 0.5"]
    assert [row.strata for row in comparison.rows] == [2, 2]


figures = st.lists(st.integers(9000, 9999), min_size=5, max_size=5).map(
    lambda images: {seed: count / 10_000 for seed, count in enumerate(images)}
)


@given(figures, figures, figures, figures)
def test_a_complete_grids_line_is_the_mean_of_its_strata(none, kept, wide_none, wide_kept):
    jobs = make_jobs((SLOW, none), half(kept, **SLOW), (FAST, wide_none), half(wide_kept, **FAST))

    comparison = compare(jobs, by=["lr"])

    within = [stratum.rows[1].difference for stratum in comparison.strata]
    assert comparison.rows[1].difference == pytest.approx(statistics.fmean(within), abs=1e-12)


@given(figures, figures)
def test_equal_strata_are_judged_as_one_of_them(none, kept):
    jobs = make_jobs((SLOW, none), half(kept, **SLOW), (FAST, none), half(kept, **FAST))

    pooled, alone = compare(jobs, by=["lr"]).rows[1], compare(jobs[:10]).rows[1]

    assert (pooled.verdict, pooled.n) == (alone.verdict, alone.n)
    assert pooled.p == pytest.approx(alone.p)


@pytest.mark.slow
def test_equal_rates_seldom_get_a_verdict_over_strata_however_often_one_looks():
    """What a seed brings to a rate is alike in all strata, which are no samples of their own."""
    rng = random.Random(2026)
    wrong, repeats = 0, 100
    for _ in range(repeats):
        shared = {seed: rng.gauss(0, 0.002) for seed in range(16)}
        groups = [
            (spec, {s: round(0.95 + mean + rng.gauss(0, 0.001), 4) for s, mean in means.items()})
            for lr in (0.1, 0.2, 0.3)
            for spec, means in (({"lr": lr}, dict.fromkeys(shared, 0.0)), half(shared, lr=lr))
        ]
        looks = (
            compare([job for job in make_jobs(*groups) if job.spec.seed < seeds], by=["lr"])
            for seeds in (4, 5, 6, 8, 10, 12, 16)
        )
        wrong += any(comparison.decided for comparison in looks)

    assert wrong <= 0.06 * repeats


@pytest.mark.parametrize(
    ("by", "words"),
    [
        (
            ["epochs"],
            "--by: epochs does not vary among these configurations: the fields that vary ",
        ),
        (["rate"], "--by: rate does not vary"),
        (["seed"], "--by: seed does not vary"),
        (["keep"], "keep is what is compared within the strata: the fields that vary are keep, lr"),
    ],
)
def test_a_field_that_makes_no_strata_is_refused_with_those_that_vary(grid, by, words):
    with pytest.raises(UsageError) as error:
        compare(grid, by=by)

    assert words in str(error.value)


def test_strata_that_leave_nothing_to_compare_are_refused():
    jobs = make_jobs((SLOW, NONE), half(HALF, **FAST))

    with pytest.raises(UsageError, match=r"--by lr: no stratum holds no dropout and anything "):
        compare(jobs, by=["lr"])


def test_fields_are_given_with_commas_and_each_counts_once():
    assert parse_by(" lr, hidden,lr,") == ("lr", "hidden")
    with pytest.raises(UsageError, match="names no field: give some with commas"):
        parse_by(" ,")
