from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.spec import ExperimentSpec
from models.state import JobState
from service.formatting import (
    describe_difference,
    describe_field,
    find_varying,
    format_default,
    format_difference,
    format_duration,
    format_field,
    format_ids,
    format_metric,
    format_p,
    printable,
)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (0.4, "0 s"),
        (40.4, "40 s"),
        (89, "89 s"),
        (90, "2 min"),
        (720, "12 min"),
        (5399, "90 min"),
        (5400, "1.5 h"),
        (12_600, "3.5 h"),
        (172_700, "48.0 h"),
        (172_800, "2 days"),
        (864_000, "10 days"),
    ],
)
def test_a_duration_is_written_in_its_largest_unit(seconds: float, words: str):
    assert format_duration(seconds) == words


def test_fields_of_a_spec_are_written_as_they_are_typed():
    assert format_field("keep", (1.0, 1.0)) == "none"
    assert format_field("keep", (1.0, 0.5)) == "1,0.5"
    assert format_field("hidden", (512, 512, 512)) == "512x3"
    assert format_field("hidden", (512, 64)) == "512,64"
    assert format_field("lr", 1e-05) == "1e-05"
    assert describe_field("epochs", 1) == "1 epoch"
    assert describe_field("train_size", None) == "all training images"


def test_job_ids_are_written_as_the_selectors_that_pick_them():
    assert format_ids([5, 1, 2, 3, 9]) == "1..3, 5, 9"
    assert format_ids(range(0, 40, 2), most=2) == "0, 2, ..."


@given(st.text(), st.booleans())
def test_any_text_makes_one_printable_line(text, ascii):
    shown = printable(text, ascii)

    assert shown.isprintable()
    assert shown.isascii() or not ascii


def test_values_of_any_type_are_written_for_people():
    assert format_default(True) == "yes"
    assert format_default(0.1 + 0.2) == "0.3"
    assert format_default(("a", "b")) == "a,b"
    assert format_default(JobState.FAILED) == "failed"
    assert format_default(datetime(2026, 11, 2, 3, 4, 5, tzinfo=UTC)) == "2026-11-02 03:04:05"


@pytest.mark.parametrize(
    ("metric", "value", "text", "difference", "margin"),
    [
        ("valid_accuracy", 0.0123, "0.0123", "+1.23 pt", "1.23 points"),
        ("valid_loss", -0.00001, "-0.0000", "+0.0000", "0.0000"),
        ("train_loss", 123456.0, "1.235e+05", "+123456.0000", "123456.0000"),
        ("seconds", 12.345, "12.35", "+12.35 s", "12.35 s"),
    ],
)
def test_a_metric_and_its_differences_have_their_own_digits_and_unit(
    metric, value, text, difference, margin
):
    assert format_metric(metric, value) == text
    assert format_difference(metric, value) == difference
    assert describe_difference(metric, value) == margin


def test_a_field_varies_where_it_is_written_differently():
    one, two = ExperimentSpec(hidden=(512,)), ExperimentSpec(hidden=(512, 512), lr=0.2, seed=1)

    assert find_varying([one, two]) == ["hidden", "lr", "seed"]
    assert find_varying([one, one]) == find_varying([]) == []


@pytest.mark.parametrize(
    ("p", "text"),
    [(0.0004, "<0.001"), (0.001, "0.001"), (0.0494, "0.049"), (0.05, "0.050"), (1.0, "1.000")],
)
def test_a_p_has_three_digits(p, text):
    assert format_p(p) == text


@pytest.mark.parametrize("p", [0.0495, 0.04999, 0.05 - 1e-15])
def test_a_p_below_five_percent_never_reads_as_five_percent(p):
    assert format_p(p) == "<0.050"
