import pytest

from models.errors import DqError
from models.state import FINAL_STATES, JobState, Outcome


def subclasses(cls: type) -> list[type]:
    return [each for child in cls.__subclasses__() for each in (child, *subclasses(child))]


@pytest.mark.parametrize(
    ("state", "is_final"),
    [
        (JobState.QUEUED, False),
        (JobState.RUNNING, False),
        (JobState.SUCCEEDED, True),
        (JobState.FAILED, True),
        (JobState.CANCELLED, True),
    ],
)
def test_only_a_person_moves_a_job_on_from_a_final_state(state, is_final):
    assert state.is_final is is_final


def test_every_state_is_spelled_as_people_type_it():
    assert list(JobState) == ["queued", "running", "succeeded", "failed", "cancelled"]


def test_each_final_state_is_also_the_outcome_of_the_attempt_that_led_to_it():
    for state in FINAL_STATES:
        assert Outcome(state) == state


def test_every_error_a_user_can_cause_has_an_exit_code_that_says_failure():
    codes = {error.__name__: error.exit_code for error in [DqError, *subclasses(DqError)]}

    assert codes["UsageError"] == 2
    assert codes["BrokerUnreachable"] == codes["DatabaseUnreachable"] == 3
    assert codes["WaitTimedOut"] == 124
    assert 0 not in codes.values()
