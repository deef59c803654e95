import itertools

import pytest

from models.errors import UsageError
from models.spec import ExperimentSpec
from models.state import JobState
from service.analysis.comparison import compare
from service.queries.rows import ComparedJob

NONE = ExperimentSpec(hidden=(16, 16))
HALF = ExperimentSpec(hidden=(16, 16), keep=(0.5, 0.5))
MIXED = ExperimentSpec(hidden=(16, 16), keep=(0.9, 0.8))


def fast(spec):
    return spec.model_copy(update={"lr": 0.3})


def make_jobs(*specs, seeds=5):
    ids = itertools.count(1)
    return [
        ComparedJob(
            next(ids),
            JobState.SUCCEEDED,
            spec.model_copy(update={"seed": seed}),
            1,
            {"valid_accuracy": 0.9 + seed / 1000},
        )
        for spec in specs
        for seed in range(seeds)
    ]


def find(jobs, baseline, **options):
    """Return the baseline's rates and learning rate."""
    spec = compare(jobs, baseline=baseline, **options).baseline.spec
    return spec.keep, spec.lr


@pytest.mark.parametrize(
    ("baseline", "keep"),
    [
        (HALF.configuration, HALF.keep),
        (HALF.configuration[:6], HALF.keep),
        ("keep 0.5,0.5", HALF.keep),
        ("0.5,0.5", HALF.keep),
        ("0.5x2", HALF.keep),
        ("0.5", HALF.keep),
        ("0.9,0.8", MIXED.keep),
        ("keep 0.9,0.8", MIXED.keep),
        ("none", NONE.keep),
        ("1", NONE.keep),
        ("no dropout", NONE.keep),
    ],
)
def test_a_baseline_is_chosen_by_its_id_its_label_or_its_rate(baseline, keep):
    comparison = compare(make_jobs(NONE, HALF, MIXED), baseline=baseline)

    assert comparison.baseline.spec.keep == keep
    assert [row.verdict for row in comparison.rows].count("baseline") == 1


@pytest.mark.parametrize("baseline", ["", "nonsense", "0.8", "0.8,0.9", "0.5,0.5,0.5"])
def test_a_baseline_that_matches_nothing_is_refused_with_the_choices(baseline):
    with pytest.raises(UsageError, match=r"none of .*\(no dropout\); .*\(keep 0.9,0.8\)$"):
        find(make_jobs(NONE, MIXED), baseline)


def test_a_rate_that_matches_several_configurations_is_refused_with_these():
    jobs = make_jobs(NONE, HALF, fast(NONE), fast(HALF))

    with pytest.raises(UsageError) as error:
        find(jobs, "0.5")

    assert str(error.value) == (
        "The baseline '0.5' matches several configurations: give one of "
        f"{HALF.configuration[:8]} (keep 0.5,0.5 lr 0.1); "
        f"{fast(HALF).configuration[:8]} (keep 0.5,0.5 lr 0.3)"
    )


def test_a_baseline_is_that_of_the_jobs_that_meet_a_condition():
    jobs = make_jobs(NONE, HALF, fast(NONE), fast(HALF))

    assert find(jobs, "lr == 0.3 and keep[0] == 0.5", baseline_jobs=[16, 20]) == (HALF.keep, 0.3)


@pytest.mark.parametrize(
    ("met", "words"), [([], "matches none"), ([1, 16], "matches several configurations")]
)
def test_a_condition_that_not_one_configuration_meets_is_refused(met, words):
    with pytest.raises(UsageError, match=words):
        find(make_jobs(NONE, HALF, fast(NONE), fast(HALF)), "lr > 0", baseline_jobs=met)


@pytest.mark.parametrize("baseline", ["0.5", "keep 0.5,0.5", HALF.configuration])
def test_in_strata_a_baseline_is_one_in_each_of_them(baseline):
    jobs = make_jobs(NONE, HALF, fast(NONE), fast(HALF))

    comparison = compare(jobs, baseline=baseline, by=["lr"])

    baselines = [stratum.rows[0] for stratum in comparison.strata]
    assert [row.spec.lr for row in baselines] == [0.1, 0.3]
    assert {row.spec.keep for row in [comparison.baseline, *baselines]} == {HALF.keep}


def test_in_strata_a_condition_that_matches_two_treatments_is_refused_with_these():
    jobs = make_jobs(NONE, HALF, fast(NONE), fast(HALF))

    with pytest.raises(UsageError, match=r"several .* one of no dropout; keep 0.5,0.5$"):
        find(jobs, "lr == 0.1", baseline_jobs=range(1, 11), by=["lr"])
