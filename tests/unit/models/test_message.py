import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.message import QUEUE, TASK, JobMessage, celery_settings, parse
from models.spec import ExperimentSpec

SPEC = ExperimentSpec(keep=(0.9, 0.8, 0.8)).model_dump(mode="json")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text("ab\0"),
    lambda values: st.lists(values) | st.dictionaries(st.text("ab"), values),
    max_leaves=5,
)


def test_a_message_names_one_job_and_shows_its_spec():
    message = JobMessage(42, SPEC)

    kwargs = {"job_id": 42, "spec": SPEC}
    assert message.as_task() == {
        "name": TASK,
        "kwargs": kwargs,
        "argsrepr": "()",
        "kwargsrepr": repr(kwargs),
        "queue": QUEUE,
        "ignore_result": True,
    }


def test_a_message_is_the_same_after_its_way_through_json():
    message = JobMessage(42, SPEC)

    received = parse(json.loads(json.dumps(message.as_task()))["kwargs"])

    assert received == message


@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"job_id": 1},
        {"spec": SPEC},
        {"job_id": "1", "spec": SPEC},
        {"job_id": True, "spec": SPEC},
        {"job_id": 1.0, "spec": SPEC},
        {"job_id": 0, "spec": SPEC},
        {"job_id": -1, "spec": SPEC},
        {"job_id": 2**31, "spec": SPEC},
        {"job_id": 1, "spec": [SPEC]},
        {"job_id": 1, "spec": None},
    ],
)
def test_malformed_arguments_are_no_message(kwargs):
    assert parse(kwargs) is None


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["job_id", "spec", "other"]), JSON))
def test_parsing_a_message_never_fails(kwargs):
    received = parse(kwargs)

    assert received is None or received.job_id > 0


def test_only_json_is_sent_and_only_json_is_accepted():
    shared = celery_settings("redis://host", socket_timeout=2)

    assert shared["task_serializer"] == "json"
    assert shared["accept_content"] == ["json"]


def test_celery_keeps_no_results():
    shared = celery_settings("redis://host", socket_timeout=2)

    assert shared["task_ignore_result"]
    assert "result_backend" not in shared
