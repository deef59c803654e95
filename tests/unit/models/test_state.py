import pytest

from models.state import FINAL_STATES, JobState, Outcome


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
def test_final_states_are_those_that_only_a_person_can_change(state, is_final):
    assert state.is_final is is_final


def test_states_are_written_as_people_type_them():
    assert list(JobState) == ["queued", "running", "succeeded", "failed", "cancelled"]


def test_each_final_state_is_also_the_outcome_of_the_attempt_that_led_to_it():
    for state in FINAL_STATES:
        assert Outcome(state) == state
