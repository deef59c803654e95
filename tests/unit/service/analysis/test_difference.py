from datetime import UTC, datetime, timedelta

import pytest

from models.metrics import EpochMetrics
from models.spec import ExperimentSpec
from models.state import JobState
from service.analysis.difference import Difference, find_differences
from service.queries.rows import AttemptRow, JobDetail, JobRow

SPEC = ExperimentSpec(hidden=(8, 8), keep=(0.9, 0.8))
MADE_BY = {"torch": "2.13.0", "device": "cpu", "git_commit": None, "threads": 1}
START = datetime(2026, 11, 24, tzinfo=UTC)
METRICS = {"valid_accuracy": 0.9, "valid_loss": 0.3, "train_accuracy": 0.8, "train_loss": 0.5}
ROW = JobRow(
    job_id=1,
    sweep_id=1,
    name=None,
    owner="ann",
    state=JobState.SUCCEEDED,
    reason=None,
    note=None,
    spec=SPEC,
    attempt=1,
    epochs_done=2,
    worker="cpu0@here",
    created_at=START,
    started_at=START,
    finished_at=START,
    held=False,
    metrics=METRICS,
)


def epochs(number, seconds=0.5):
    return tuple(EpochMetrics(n, 0.5, 0.8, 0.3, 0.9, seconds) for n in range(1, number + 1))


def attempt(number, provenance):
    return AttemptRow(number, "cpu0@here", START, None, "succeeded", None, 0, provenance)


TWO_EPOCHS = epochs(2)


def detail(*, made_by=MADE_BY, attempts=None, epochs=TWO_EPOCHS, tags=(), **row):
    tried = (attempt(1, made_by),) if attempts is None else attempts
    return JobDetail(JobRow(**{**vars(ROW), **row}), tags, epochs, tried)


def test_a_job_does_not_differ_from_itself():
    assert find_differences(detail(), detail()) == []


def test_what_a_job_is_called_and_when_and_where_it_waited_makes_no_difference():
    other = detail(
        job_id=2,
        sweep_id=5,
        name="another",
        note="a note",
        worker="gpu1@there",
        created_at=START + timedelta(days=1),
        attempt=3,
        tags=("paper",),
    )

    assert find_differences(detail(), other) == []


@pytest.mark.parametrize(
    ("field", "value", "a", "b"),
    [
        ("keep", (1.0, 1.0), "0.9,0.8", "none"),
        ("hidden", (16, 16), "8x2", "16x2"),
        ("hidden", (8, 4), "8x2", "8,4"),
        ("lr", 0.2, "0.1", "0.2"),
        ("train_size", 2000, "all", "2000"),
        ("max_norm", 2.0, "none", "2"),
        ("seed", 2**62, "0", str(2**62)),
        ("dataset", "fashion-mnist", "mnist", "fashion-mnist"),
        ("evaluation", "test", "valid", "test"),
    ],
)
def test_a_field_of_the_spec_that_differs_is_written_as_in_tables(field, value, a, b):
    other = detail(spec=SPEC.model_copy(update={field: value}))

    assert find_differences(detail(), other) == [Difference("spec", field, a, b)]


def test_floats_that_differ_in_the_last_place_differ():
    other = detail(spec=SPEC.model_copy(update={"lr": 0.1 + 2**-56}))

    assert [each.name for each in find_differences(detail(), other)] == ["lr"]


def test_of_the_provenance_only_what_differs_is_listed():
    other = detail(made_by={**MADE_BY, "torch": "2.12.0", "git_commit": "abc"})

    assert find_differences(detail(), other) == [
        Difference("provenance", "torch", "2.13.0", "2.12.0"),
        Difference("provenance", "git_commit", None, "abc"),
    ]


def test_the_provenance_is_that_of_the_last_attempt_that_has_one():
    first, second = attempt(1, {"device": "cuda"}), attempt(2, {"device": "cpu"})
    lost = attempt(3, None)

    same = find_differences(
        detail(attempts=(first, second, lost)), detail(attempts=(attempt(1, {"device": "cpu"}),))
    )

    assert same == []


def test_a_job_that_never_ran_lacks_what_the_other_has():
    waits = detail(state=JobState.QUEUED, attempts=(), epochs=(), metrics={})

    differences = find_differences(detail(), waits)

    assert {each.part for each in differences} == {"provenance", "outcome"}
    assert {each.name: (each.a, each.b) for each in differences if each.part == "outcome"} == {
        "state": ("succeeded", "queued"),
        "epochs": (2, 0),
        "seconds": (1.0, 0),
        **{name: (value, None) for name, value in METRICS.items()},
    }
    assert all(each.b is None for each in differences if each.part == "provenance")


def test_a_fact_that_only_the_second_job_has_is_listed_too():
    waits = detail(attempts=(), metrics={})

    differences = find_differences(waits, detail())

    assert Difference("provenance", "torch", None, "2.13.0") in differences
    assert Difference("outcome", "valid_accuracy", None, 0.9) in differences


def test_the_outcome_is_the_state_how_far_it_came_how_long_it_took_and_its_metrics():
    failed = detail(
        state=JobState.FAILED, epochs=epochs(1, 0.25), metrics={**METRICS, "valid_loss": 0.4}
    )

    assert find_differences(detail(), failed) == [
        Difference("outcome", "state", "succeeded", "failed"),
        Difference("outcome", "epochs", 2, 1),
        Difference("outcome", "seconds", 1.0, 0.25),
        Difference("outcome", "valid_loss", 0.3, 0.4),
    ]


def test_the_spec_comes_first_then_the_provenance_then_the_outcome():
    other = detail(
        spec=SPEC.model_copy(update={"seed": 1}), made_by={**MADE_BY, "threads": 2}, metrics={}
    )

    parts = [each.part for each in find_differences(detail(), other)]

    assert parts == ["spec", "provenance", *["outcome"] * 4]
