import itertools
import math
import random
import statistics
import warnings
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from models.errors import UsageError
from models.metrics import HIGHER_IS_BETTER
from models.spec import ExperimentSpec
from models.state import JobState
from service.analysis import anytime
from service.analysis.comparison import Comparison, compare
from service.analysis.statistics import ALPHA, correct_by_holm
from service.queries.rows import ComparedJob

NONE = ExperimentSpec(hidden=(512, 512, 512))
NOTEBOOK = NONE.model_copy(update={"keep": (0.9, 0.8, 0.8)})
MILD = NONE.model_copy(update={"keep": (0.95, 0.95, 0.95)})
HARSH = NONE.model_copy(update={"keep": (0.5, 0.5, 0.5)})

BASE_FIGURES = (0.9471, 0.9462, 0.9480, 0.9477, 0.9466)
OTHER_FIGURES = (0.9310, 0.9282, 0.9301, 0.9306, 0.9299)


SUBMITTED = datetime(2026, 11, 30, 12, tzinfo=UTC)


class Lab:
    """Makes runs with consecutive job ids, a second apart."""

    def __init__(self) -> None:
        self.ids = itertools.count(1)

    def run(self, spec, seed, value=None, state=JobState.SUCCEEDED, metric="valid_accuracy"):
        metrics = {} if value is None else {metric: value}
        version = 1 if state is JobState.SUCCEEDED else None
        spec = spec.model_copy(update={"seed": seed})
        return ComparedJob(next(self.ids), state, spec, version, metrics)

    def runs(self, spec, values, first_seed=0, metric="valid_accuracy"):
        return [
            self.run(spec, seed, value, metric=metric)
            for seed, value in enumerate(values, first_seed)
        ]


@pytest.fixture
def lab():
    return Lab()


def test_an_interval_is_the_any_time_one_over_seeds(lab):
    base = compare(lab.runs(NONE, BASE_FIGURES)).baseline

    half = anytime.find_critical_t(5, 0.05) * stats.sem(BASE_FIGURES)
    mean = statistics.fmean(BASE_FIGURES)
    assert (base.low, base.high) == pytest.approx((mean - half, mean + half), abs=1e-12)
    assert base.std == pytest.approx(statistics.stdev(BASE_FIGURES))
    assert (base.minimum, base.maximum, base.n) == (0.9462, 0.9480, 5)
    assert base.values == dict(enumerate(BASE_FIGURES))
    assert base.verdict == "baseline"


def test_a_difference_is_judged_by_the_any_time_test(lab):
    runs = lab.runs(NONE, BASE_FIGURES) + lab.runs(NOTEBOOK, OTHER_FIGURES)

    comparison = compare(runs)

    expected, row = stats.ttest_rel(OTHER_FIGURES, BASE_FIGURES), comparison.rows[1]
    half = anytime.find_critical_t(5, 0.05) * row.difference / expected.statistic
    interval = row.difference - half, row.difference + half
    assert comparison.test == "any-time"
    assert row.p == pytest.approx(anytime.find_p(expected.statistic, 5), rel=1e-9)
    assert (row.difference_low, row.difference_high) == pytest.approx(interval)
    assert row.verdict == "worse"


def test_seeds_fixed_beforehand_are_judged_by_students_test(lab):
    runs = lab.runs(NONE, BASE_FIGURES) + lab.runs(NOTEBOOK, OTHER_FIGURES)

    comparison = compare(runs, fixed_seeds=True)

    expected, row = stats.ttest_rel(OTHER_FIGURES, BASE_FIGURES), comparison.rows[1]
    interval = expected.confidence_interval(0.95)
    means = stats.t.interval(
        0.95, 4, loc=statistics.fmean(BASE_FIGURES), scale=stats.sem(BASE_FIGURES)
    )
    assert comparison.test == "fixed seeds"
    assert row.p == pytest.approx(expected.pvalue, rel=1e-9)
    assert (row.difference_low, row.difference_high) == pytest.approx(tuple(interval))
    assert (comparison.baseline.low, comparison.baseline.high) == pytest.approx(means)
    assert row.verdict == "worse"


def end(runs, seconds=100):
    """Let the runs be submitted a second apart, and end that many seconds after the first."""
    return [
        replace(
            run,
            created_at=SUBMITTED + timedelta(seconds=number),
            finished_at=SUBMITTED + timedelta(seconds=seconds + number),
        )
        for number, run in enumerate(runs)
    ]


def test_fixed_seeds_are_refused_where_one_was_added_after_the_first_result(lab):
    runs = lab.runs(NONE, BASE_FIGURES) + lab.runs(NOTEBOOK, OTHER_FIGURES)

    assert compare(end(runs), fixed_seeds=True).decided
    with pytest.raises(UsageError, match=r"jobs 9\.\.10 came after job 1 had ended"):
        compare(end(runs, seconds=7.5), fixed_seeds=True)


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.RUNNING])
def test_fixed_seeds_are_not_judged_before_all_have_ended(lab, state):
    runs = lab.runs(NONE, BASE_FIGURES) + lab.runs(NOTEBOOK, OTHER_FIGURES[:4])
    runs.append(lab.run(NOTEBOOK, 4, state=state))

    assert compare(runs, fixed_seeds=True).rows[1].verdict == "wait for 1 seed"
    assert compare(runs).rows[1].verdict == "worse"


def test_a_difference_is_of_the_shared_seeds_and_a_mean_of_all(lab):
    runs = lab.runs(NONE, BASE_FIGURES) + lab.runs(NOTEBOOK, OTHER_FIGURES, first_seed=3)

    row = compare(runs).rows[1]

    assert row.shared == 2
    assert row.difference == pytest.approx(
        (OTHER_FIGURES[0] - BASE_FIGURES[3] + OTHER_FIGURES[1] - BASE_FIGURES[4]) / 2
    )
    assert row.mean == pytest.approx(statistics.fmean(OTHER_FIGURES))


def test_without_shared_seeds_there_is_no_difference(lab):
    runs = lab.runs(NONE, BASE_FIGURES) + lab.runs(NOTEBOOK, OTHER_FIGURES, first_seed=10)

    row = compare(runs).rows[1]

    assert (row.shared, row.difference, row.p) == (0, None, None)
    assert (row.verdict, row.fill_to) == ("too few seeds: 4 more", 4)


def test_p_is_corrected_for_every_row_also_those_whose_seeds_are_to_come(lab):
    runs = lab.runs(NONE, BASE_FIGURES)
    runs += lab.runs(NOTEBOOK, OTHER_FIGURES) + lab.runs(MILD, reversed(BASE_FIGURES))
    runs += lab.runs(HARSH, OTHER_FIGURES[:1])

    rows = compare(runs).rows

    assert [row.p_holm for row in rows[1:3]] == correct_by_holm([rows[1].p, rows[2].p, 1])[:2]
    assert rows[1].p_holm == 3 * rows[1].p
    assert rows[3].p_holm is None


@pytest.mark.parametrize("metric", HIGHER_IS_BETTER)
def test_more_is_better_for_accuracies_and_worse_for_losses_and_seconds(lab, metric):
    runs = lab.runs(NONE, OTHER_FIGURES, metric=metric)
    runs += lab.runs(NOTEBOOK, BASE_FIGURES, metric=metric)

    comparison = compare(runs, metric)

    expected = "better" if metric.endswith("accuracy") else "worse"
    assert comparison.rows[1].verdict == expected
    assert comparison.decided == comparison.rows[1:]


@pytest.mark.parametrize(
    ("base", "other", "more"), [(0, 0, 4), (0, 5, 4), (1, 1, 3), (5, 1, 3), (1, 5, 3), (5, 0, 4)]
)
def test_without_two_shared_seeds_as_many_are_asked_for_as_the_test_needs(lab, base, other, more):
    runs = lab.runs(NONE, BASE_FIGURES[:base]) + lab.runs(NOTEBOOK, OTHER_FIGURES[:other])
    runs += [lab.run(spec, 99, math.nan) for spec in (NONE, NOTEBOOK)]

    row = compare(runs).rows[1]

    assert row.verdict == f"too few seeds: {more} more"
    assert (row.more_seeds, row.fill_to, row.p) == (more, 4, None)
    assert (row.difference is None) == (0 in (base, other))


def test_a_likely_effect_asks_for_as_many_more_seeds_as_would_decide_it(lab):
    differences = (-0.002, -0.009, -0.004, -0.006)
    figures = [a + b for a, b in zip(BASE_FIGURES, differences, strict=False)]
    runs = lab.runs(NONE, BASE_FIGURES) + lab.runs(NOTEBOOK, figures)

    row = compare(runs).rows[1]

    effect = abs(statistics.fmean(differences)) / statistics.stdev(differences)
    needed = next(n for n in range(5, 99) if anytime.find_p(effect * math.sqrt(n), n) <= ALPHA)
    assert row.p > ALPHA
    assert row.verdict == f"too few seeds: {needed - 4} more"
    assert row.fill_to == needed


def test_more_seeds_are_asked_for_where_more_rows_are_tested(lab):
    figures = [a + b for a, b in zip(BASE_FIGURES, (-0.002, -0.009, -0.004), strict=False)]
    runs = lab.runs(NONE, BASE_FIGURES[:3]) + lab.runs(NOTEBOOK, figures)
    alone = compare(runs).rows[1].more_seeds

    runs += lab.runs(MILD, figures) + lab.runs(HARSH, figures)

    assert alone < compare(runs).rows[1].more_seeds


@pytest.mark.parametrize(
    ("seeds", "fill_to"), [((0, 1), 4), ((10, 11), 2), ((1, 3), 3), ((0, 1, 2), 4)]
)
def test_more_seeds_are_the_first_that_are_not_shared_yet(lab, seeds, fill_to):
    runs = [lab.run(spec, seed, 0.9) for spec in (NONE, NOTEBOOK) for seed in seeds]
    runs += [lab.run(NONE, seed, 0.9) for seed in (2, 3)]

    assert compare(runs).rows[1].fill_to == fill_to


def test_an_effect_that_twenty_more_seeds_would_not_show_is_no_evidence(lab):
    base, other = (0.940, 0.950) * 3, (0.9501, 0.9401) * 3
    runs = lab.runs(NONE, base) + lab.runs(NOTEBOOK, other)

    row = compare(runs).rows[1]

    assert (row.verdict, row.more_seeds, row.fill_to) == ("no evidence", None, None)


@pytest.mark.parametrize("metric", HIGHER_IS_BETTER)
@pytest.mark.parametrize("value", [0.0, 0.9, 1.0])
def test_identical_results_are_no_evidence(lab, metric, value):
    runs = lab.runs(NONE, [value] * 5, metric=metric)
    runs += lab.runs(NOTEBOOK, [value] * 5, metric=metric)

    with warnings.catch_warnings(action="error"):
        row = compare(runs, metric).rows[1]

    assert (row.p, row.difference, row.verdict) == (1.0, 0.0, "no evidence")


def test_an_equal_difference_of_few_images_at_few_seeds_proves_nothing(lab):
    base = (0.9400, 0.9420, 0.9410, 0.9430)
    runs = lab.runs(NONE, base) + lab.runs(NOTEBOOK, [value + 0.0002 for value in base])

    row = compare(runs).rows[1]

    assert row.p > ALPHA
    assert row.verdict == "too few seeds: 1 more"


def test_a_spread_is_at_least_half_an_image_of_the_smallest_batch(lab):
    small = NONE.model_copy(update={"batch_size": 10})
    runs = lab.runs(NONE, [0.9] * 5, metric="train_accuracy")
    runs += lab.runs(small, [0.95] * 5, metric="train_accuracy")

    row = compare(runs, "train_accuracy").rows[1]

    assert row.p == pytest.approx(anytime.find_p(0.05 / 0.05 * math.sqrt(5), 5))


@pytest.mark.parametrize("seeds", [2, 3, 5, 7, 10, 20])
@pytest.mark.parametrize("fixed_seeds", [True, False])
@pytest.mark.parametrize("share", [0.02, 0.1, 0.3, 0.5])
def test_an_interval_covers_the_mean_of_figures_one_image_apart(lab, seeds, fixed_seeds, share):
    """Such a share of the seeds gets one image more: the chance of each count is the binomial."""

    def covers(count):
        figures = [0.95 + 0.0001 * (seed < count) for seed in range(seeds)]
        base = compare(lab.runs(NONE, figures), fixed_seeds=fixed_seeds).baseline
        return base.low is None or base.low <= 0.95 + 0.0001 * share <= base.high

    chances = stats.binom.pmf(range(seeds + 1), seeds, share)
    covered = sum(chance for count, chance in enumerate(chances) if covers(count))

    assert covered > 0.95


@pytest.mark.parametrize("metric", ["valid_accuracy", "valid_loss"])
def test_an_equal_large_difference_is_significant_without_infinities(lab, metric):
    runs = lab.runs(NONE, (0.9, 0.92, 0.94, 0.96), metric=metric)
    runs += lab.runs(NOTEBOOK, (0.8, 0.82, 0.84, 0.86), metric=metric)

    with warnings.catch_warnings(action="error"):
        row = compare(runs, metric).rows[1]

    assert 0 < row.p < ALPHA
    assert row.verdict == {"valid_accuracy": "worse", "valid_loss": "better"}[metric]


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.RUNNING])
@pytest.mark.parametrize(
    ("finished", "waits", "verdict"),
    [
        ((0, 0), (NONE, NOTEBOOK), "wait for 5 seeds"),
        ((5, 1), (NOTEBOOK,), "wait for 4 seeds"),
        ((1, 5), (NONE,), "wait for 4 seeds"),
        ((4, 4), (NONE,), "worse"),
    ],
)
def test_seeds_that_are_to_come_are_waited_for_before_more_are_asked_for(
    lab, state, finished, waits, verdict
):
    base, other = finished
    runs = lab.runs(NONE, BASE_FIGURES[:base]) + lab.runs(NOTEBOOK, OTHER_FIGURES[:other])
    done = {NONE: base, NOTEBOOK: other}
    runs += [lab.run(spec, seed, state=state) for spec in waits for seed in range(done[spec], 5)]

    row = compare(runs).rows[1]

    assert (row.verdict, row.more_seeds) == (verdict, None)
    assert row.unfinished == (5 - other) * (NOTEBOOK in waits)


def test_a_seed_that_only_one_side_is_to_get_is_not_waited_for(lab):
    runs = lab.runs(NONE, BASE_FIGURES[:2]) + lab.runs(NOTEBOOK, BASE_FIGURES[:2])
    runs += [lab.run(NOTEBOOK, seed, state=JobState.QUEUED) for seed in range(2, 6)]

    assert compare(runs).rows[1].verdict == "too few seeds: 2 more"


def test_more_seeds_are_asked_for_besides_those_that_are_to_come(lab):
    runs = lab.runs(NONE, (0.94, 0.95)) + lab.runs(NOTEBOOK, (0.92, 0.94))
    needed = compare(runs).rows[1].more_seeds

    runs += [lab.run(spec, 9, state=JobState.QUEUED) for spec in (NONE, NOTEBOOK)]

    row = compare(runs).rows[1]
    assert needed > 1
    assert row.verdict == f"too few seeds: {needed - 1} more"
    assert row.fill_to == 2 + needed - 1


def test_a_difference_known_to_be_too_small_to_matter_is_within(lab):
    noise = (0.0003, -0.0004, 0.0002, -0.0003, 0.0004, -0.0002, 0.0001, -0.0001)
    runs = lab.runs(NONE, [0.94] * 8) + lab.runs(NOTEBOOK, [0.94 + each for each in noise])

    assert compare(runs).rows[1].verdict == "no evidence"
    assert compare(runs, smallest=0.0003).rows[1].verdict == "no evidence"
    assert compare(runs, smallest=0.002).rows[1].verdict == "within 0.20 points"


@pytest.mark.parametrize(
    ("failing", "verdict"), [(NOTEBOOK, "2 seeds failed"), (NONE, "baseline: 2 seeds failed")]
)
def test_a_configuration_that_failed_with_every_seed_is_not_asked_for_more(lab, failing, verdict):
    other = NOTEBOOK if failing is NONE else NONE
    runs = [lab.run(failing, seed, state=JobState.FAILED) for seed in range(2)]
    runs += lab.runs(other, BASE_FIGURES)

    comparison = compare(runs)

    assert (comparison.rows[1].verdict, comparison.rows[1].more_seeds) == (verdict, None)


def test_a_configuration_that_failed_with_some_seeds_is_waited_for_while_others_are_to_come(lab):
    runs = [*lab.runs(NONE, BASE_FIGURES), lab.run(NOTEBOOK, 0, state=JobState.FAILED)]
    runs += [lab.run(NOTEBOOK, seed, state=JobState.RUNNING) for seed in (1, 2, 3, 4)]

    assert compare(runs).rows[1].verdict == "wait for 4 seeds"


def test_a_seed_counts_once_by_how_far_it_is(lab):
    runs = lab.runs(NONE, BASE_FIGURES)
    runs += [lab.run(NONE, 0, state=JobState.RUNNING), lab.run(NONE, 8, state=JobState.FAILED)]
    runs += [lab.run(NONE, 8, state=JobState.QUEUED), lab.run(NONE, 9, state=JobState.FAILED)]

    base = compare(runs).baseline

    assert (base.n, base.running, base.queued, base.failed) == (5, 0, 1, 1)


def test_only_succeeded_runs_are_in_a_mean(lab):
    runs = lab.runs(NONE, BASE_FIGURES)
    expected = compare(runs).baseline
    runs.append(lab.run(NONE, 10, 0.1, JobState.FAILED))
    runs.append(lab.run(NONE, 11, 0.1, JobState.RUNNING))
    runs.append(lab.run(NONE, 12, state=JobState.QUEUED))
    runs.append(lab.run(NONE, 13, 0.1, JobState.CANCELLED))
    runs.append(lab.run(NONE, 14, math.nan))

    comparison = compare(runs)

    assert comparison.baseline == replace(expected, failed=1, running=1, queued=1)
    assert (comparison.failed, comparison.unfinished) == ((6,), (7, 8))
    assert (comparison.cancelled, comparison.unmeasured) == ((9,), (10,))


def test_a_configuration_without_results_still_has_a_row(lab):
    runs = [*lab.runs(NONE, BASE_FIGURES), lab.run(HARSH, 0, state=JobState.FAILED)]

    row = compare(runs).rows[1]

    assert (row.n, row.mean, row.low, row.std, row.jobs) == (0, None, None, None, ())


def test_a_configuration_that_was_only_cancelled_has_no_row(lab):
    other = NONE.model_copy(update={"dataset": "fashion-mnist"})
    runs = [*lab.runs(NONE, BASE_FIGURES), lab.run(other, 0, state=JobState.CANCELLED)]

    comparison = compare(runs)

    assert len(comparison.rows) == 1
    assert comparison.cancelled == (6,)


def test_a_repeated_seed_counts_once_and_is_named(lab):
    runs = lab.runs(NONE, BASE_FIGURES)
    again, other = lab.run(NONE, 0, BASE_FIGURES[0]), lab.run(NONE, 1, 0.5)

    comparison = compare([other, again, *runs])

    assert comparison.baseline == compare(runs).baseline
    assert (comparison.duplicates, comparison.disagreeing) == ((6, 7), (7,))


def test_the_same_job_given_twice_is_one_job(lab):
    runs = lab.runs(NONE, BASE_FIGURES)

    assert compare(runs + runs) == compare(runs)


def test_the_baseline_is_the_configuration_without_dropout(lab):
    runs = lab.runs(NOTEBOOK, OTHER_FIGURES) + lab.runs(NONE, BASE_FIGURES)

    assert compare(runs).baseline.spec.keep == (1, 1, 1)


def test_without_one_free_of_dropout_the_first_submitted_is_the_baseline(lab):
    runs = lab.runs(NOTEBOOK, OTHER_FIGURES) + lab.runs(MILD, BASE_FIGURES)

    assert compare(runs).baseline.configuration == NOTEBOOK.configuration


def test_an_unknown_metric_is_refused_with_the_choices(lab):
    with pytest.raises(UsageError, match="'speed': use one of valid_accuracy"):
        compare(lab.runs(NONE, BASE_FIGURES), "speed")


def test_nothing_to_compare_is_refused():
    with pytest.raises(UsageError, match="nothing to compare"):
        compare([])


def test_data_sets_are_not_mixed(lab):
    other = NONE.model_copy(update={"dataset": "fashion-mnist"})
    runs = lab.runs(NONE, BASE_FIGURES) + lab.runs(other, OTHER_FIGURES)

    with pytest.raises(
        UsageError, match=r"more than one data set.*dq results --compare 1\.\.5, or .* --mix$"
    ):
        compare(runs)


def test_trainer_versions_are_not_mixed(lab):
    old = ComparedJob(99, JobState.SUCCEEDED, NONE, 0, {"valid_accuracy": 0.9})

    with pytest.raises(UsageError, match=r"one trainer version.*0 \(jobs 99\); 1 \(jobs 1\.\.5\)"):
        compare([*lab.runs(NONE, BASE_FIGURES), old])


def test_the_version_of_an_unfinished_job_is_no_mixing(lab):
    runs = [*lab.runs(NONE, BASE_FIGURES), lab.run(NONE, 9, state=JobState.QUEUED)]

    assert compare(runs).trainer_version == 1


def test_only_what_differs_is_named(lab):
    slow = NOTEBOOK.model_copy(update={"lr": 0.01})
    runs = lab.runs(NONE, BASE_FIGURES) + lab.runs(slow, OTHER_FIGURES)

    comparison = compare(runs)

    assert comparison.varying == ("keep", "lr")
    assert comparison.rows[1].label == "keep 0.9,0.8,0.8 lr 0.01"
    assert "seed" not in comparison.common
    assert comparison.common["hidden"] == (512, 512, 512)


def test_no_dropout_on_fewer_layers_is_no_difference_in_keep(lab):
    runs = lab.runs(NONE, BASE_FIGURES) + lab.runs(ExperimentSpec(hidden=(512,)), OTHER_FIGURES)

    assert compare(runs).varying == ("hidden",)


@pytest.mark.parametrize(
    ("metric", "images"), [("valid_accuracy", 10_000), ("train_accuracy", 200), ("seconds", None)]
)
def test_sampling_noise_is_the_binomial_error_on_the_metrics_images(lab, metric, images):
    spec = NONE.model_copy(update={"train_size": 1000, "batch_size": 400})

    comparison = compare(lab.runs(spec, [0.9, 0.9], metric=metric), metric)

    assert comparison.images == images
    expected = math.sqrt(0.9 * 0.1 / images) if images else None
    assert comparison.sampling_noise == (images and pytest.approx(expected))


figures = st.one_of(
    st.integers(0, 10_000).map(lambda images: images / 10_000),
    st.sampled_from([0.0, 1.0, 0.9312]),
    st.floats(0, 1e100),
    st.just(math.nan),
    st.just(math.inf),
)
drafts = st.tuples(
    st.sampled_from([NONE, NOTEBOOK, MILD, HARSH]),
    st.integers(0, 4),
    figures,
    st.sampled_from([JobState.SUCCEEDED] * 6 + list(JobState)),
)


def make(drafted, metric) -> list[ComparedJob]:
    lab = Lab()
    return [lab.run(*draft, metric=metric) for draft in drafted]


def numbers(comparison: Comparison) -> list[float]:
    values = [getattr(row, field.name) for row in comparison.rows for field in fields(row)]
    values.append(comparison.sampling_noise)
    return [value for value in values if isinstance(value, float)]


@settings(deadline=timedelta(seconds=2), max_examples=200)
@given(st.lists(drafts, min_size=1, max_size=20), st.sampled_from(list(HIGHER_IS_BETTER)))
def test_no_runs_give_nan_infinity_or_a_warning(drafted, metric):
    runs = make(drafted, metric)
    if all(run.state is JobState.CANCELLED for run in runs):
        return

    with warnings.catch_warnings(action="error"):
        comparison = compare(runs, metric)

    assert all(math.isfinite(number) for number in numbers(comparison))
    assert all(0 <= row.p <= row.p_holm <= 1 for row in comparison.rows if row.p is not None)


@settings(deadline=timedelta(seconds=2))
@given(st.lists(drafts, min_size=1, max_size=16), st.randoms(use_true_random=False))
def test_the_order_of_the_runs_changes_nothing(drafted, shuffler):
    runs = make([(NONE, 0, 0.5, JobState.SUCCEEDED), *drafted], "valid_accuracy")
    shuffled = shuffler.sample(runs, len(runs))

    assert compare(shuffled) == compare(runs)


@pytest.mark.slow
@pytest.mark.parametrize("fixed_seeds", [True, False])
def test_where_nothing_differs_hardly_any_comparison_claims_a_difference(fixed_seeds):
    """Two true null hypotheses each; 5 % of 1000 comparisons may err, 6 % allows for chance.

    Fixed seeds are looked at once, the others after each seed from 3 to 20.
    """
    rng = random.Random(2026)
    repeats, wrong = 1000, 0
    specs, looks = (NONE, NOTEBOOK, HARSH), [20] if fixed_seeds else range(3, 21)
    for _ in range(repeats):
        lab = Lab()
        by_seed = [
            [lab.run(spec, seed, round(rng.gauss(0.93, 0.0012), 4)) for spec in specs]
            for seed in range(20)
        ]
        comparisons = (
            compare([run for runs in by_seed[:look] for run in runs], fixed_seeds=fixed_seeds)
            for look in looks
        )
        wrong += any(comparison.decided for comparison in comparisons)

    assert wrong <= 0.06 * repeats


def test_a_real_difference_is_found_nearly_always():
    """The notebook's 1.6 points at a spread of 0.12 points, five seeds."""
    rng = random.Random(2026)
    verdicts = []
    for _ in range(100):
        lab = Lab()
        runs = lab.runs(NONE, [rng.gauss(0.947, 0.0012) for _ in range(5)])
        runs += lab.runs(NOTEBOOK, [rng.gauss(0.931, 0.0012) for _ in range(5)])
        verdicts.append(compare(runs).rows[1].verdict)

    assert verdicts.count("worse") >= 99
