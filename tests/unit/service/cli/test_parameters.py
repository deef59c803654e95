import click
import pytest

from service.cli.parameters import DURATION, SEEDS


@pytest.mark.parametrize(
    ("typed", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        ("30m", 1800),
        ("2h", 7200),
        ("1d", 86_400),
        ("1.5h", 5400),
        ("0.5", 0.5),
        (600.0, 600),
    ],
)
def test_a_duration_is_a_number_with_a_unit_and_seconds_without(typed, seconds):
    assert DURATION.convert(typed, None, None) == seconds


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "x",
        "0",
        "0m",
        "-1",
        "1w",
        "1e3",
        "30 m",
        "m",
        "nan",
        "inf",
        "1h30m",
        "10001d",
        "9" * 400,
    ],
)
def test_an_invalid_duration_is_refused_with_examples(typed):
    with pytest.raises(click.BadParameter, match="write 90s, 30m or 2h"):
        DURATION.convert(typed, None, None)


@pytest.mark.parametrize(
    ("typed", "seeds"),
    [
        ("1", (0,)),
        ("5", (0, 1, 2, 3, 4)),
        ("0..2", (0, 1, 2)),
        ("10..12", (10, 11, 12)),
        ("7..7", (7,)),
        ((1, 2), (1, 2)),
    ],
)
def test_seeds_are_how_many_or_from_to_with_both_ends(typed, seeds):
    assert SEEDS.convert(typed, None, None) == seeds


@pytest.mark.parametrize(
    "typed", ["", "x", "0", "-1", "9..3", "1..", "..3", "1...3", "1.5", "100001", "9" * 30]
)
def test_invalid_seeds_are_refused_with_examples(typed):
    with pytest.raises(click.BadParameter, match=r"write how many \(5\), or from\.\.to \(0\.\.9\)"):
        SEEDS.convert(typed, None, None)
