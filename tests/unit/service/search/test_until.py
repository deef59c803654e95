import pytest

from models.errors import UsageError
from models.spec import ExperimentSpec
from models.state import JobState
from service.analysis.comparison import compare
from service.queries.rows import ComparedJob
from service.search.until import make_plan

NONE = ExperimentSpec(hidden=(16, 16))
MILD = NONE.model_copy(update={"keep": (0.9, 0.9)})
HARSH = NONE.model_copy(update={"keep": (0.5, 0.5)})
#: By how much each configuration is worse, besides noise of 0.2 points.
LOSSES = {NONE: 0.0, MILD: 0.0, HARSH: 0.1}


def measure(specs, losses=LOSSES):
    """Make a finished job for each spec."""
    return [
        ComparedJob(
            job_id,
            JobState.SUCCEEDED,
            spec,
            1,
            {
                "valid_accuracy": 0.9
                - losses[base]
                + 0.002 * ((spec.seed * (1 + (base.keep[0] < 1))) % 3)
            },
        )
        for job_id, spec in enumerate(specs, start=1)
        for base in losses
        if base.configuration == spec.configuration
    ]


def run(plan, losses=LOSSES):
    """Run a plan's rounds to the end; return the specs of each, and the last comparison."""
    rounds, seeds = [plan.list_first()], plan.least
    while True:
        comparison = compare(measure(sum(rounds, ()), losses), smallest=plan.smallest)
        more = plan.list_more(comparison, seeds)
        if not more:
            return rounds, comparison
        rounds.append(more)
        seeds = more[-1].seed + 1


def seeds_of(rounds, spec):
    configuration = spec.configuration
    return [s.seed for specs in rounds for s in specs if s.configuration == configuration]


def test_what_is_undecided_gets_more_seeds_and_what_is_decided_none():
    rounds, comparison = run(make_plan([NONE, MILD, HARSH], tuple(range(4, 13)), None))

    assert [row.verdict for row in comparison.rows] == ["baseline", "no evidence", "worse"]
    assert seeds_of(rounds, NONE) == seeds_of(rounds, MILD) == list(range(12))
    assert len(seeds_of(rounds, HARSH)) < 8


def test_each_round_has_a_quarter_more_seeds_up_to_the_limit():
    rounds, _ = run(make_plan([NONE, MILD], None, None))

    assert [specs[-1].seed + 1 for specs in rounds] == [4, 5, 7, 9, 12, 15, 19, 20]


def test_it_ends_when_all_is_decided():
    rounds, comparison = run(make_plan([NONE, HARSH], None, None))

    assert len(comparison.decided) == 1
    assert len(seeds_of(rounds, NONE)) == len(seeds_of(rounds, HARSH)) < 8


def test_a_difference_too_small_to_matter_is_decided():
    rounds, comparison = run(make_plan([NONE, MILD], None, smallest=1.0))

    assert comparison.rows[1].verdict == "within 1.00 points"
    assert len(rounds) < 8


def test_a_configuration_whose_seeds_all_failed_gets_no_more():
    plan = make_plan([NONE, MILD], None, None)
    jobs = [
        job
        if job.spec.keep == (1, 1)
        else ComparedJob(job.job_id, JobState.FAILED, job.spec, None, {})
        for job in measure(plan.list_first())
    ]

    assert plan.list_more(compare(jobs), 4) == ()


@pytest.mark.parametrize(
    ("seeds", "least", "most"),
    [
        (None, 4, 20),
        (tuple(range(4, 21)), 4, 20),
        (tuple(range(20)), 4, 20),
        (tuple(range(1, 9)), 1, 8),
        ((8,), 8, 8),
    ],
)
def test_seeds_are_the_least_and_the_most_to_run(seeds, least, most):
    plan = make_plan([NONE, MILD], seeds, None)

    assert (plan.least, plan.most) == (least, most)
    assert (
        str(plan) == f"2 configurations x {least} to {most} seeds = {2 * least} to {2 * most} jobs"
    )


@pytest.mark.parametrize(
    ("specs", "seeds", "message"),
    [
        ([NONE], None, "this is only one: repeat an option"),
        ([NONE, NONE], None, "this is only one"),
        ([NONE, MILD], (0, 1, 2), "fewer than 4 decide nothing"),
        ([NONE, MILD.model_copy(update={"dataset": "digits"})], None, "digits, mnist"),
        ([NONE, MILD.model_copy(update={"evaluation": "test"})], None, "test, valid"),
    ],
)
def test_a_plan_that_can_decide_nothing_is_refused(specs, seeds, message):
    with pytest.raises(UsageError, match=message):
        make_plan(specs, seeds, None)
