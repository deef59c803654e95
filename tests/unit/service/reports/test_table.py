import csv
import io
import itertools
import json
import math
import unicodedata
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from models.spec import ExperimentSpec
from models.state import JobState
from service.analysis.comparison import compare
from service.formatting import format_default, printable
from service.queries.rows import ComparedJob
from service.reports.comparison_table import comparison_table, conclude
from service.reports.table import Column, Table, render

NONE = ExperimentSpec(hidden=(512, 512, 512))
BASE_FIGURES = (0.9471, 0.9462, 0.9480, 0.9477, 0.9466)
NASTY = ["\x1b[31mred\x1b[0m", "two\nlines", "tab\there", "\u202egnp", "\x9b2J", "a\rb", "\u2028"]
FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"]


def runs_of(figures, metric="valid_accuracy"):
    """Make runs from {keep: figures}; seeds and job ids count up."""
    ids = itertools.count(1)
    return [
        ComparedJob(
            next(ids),
            JobState.SUCCEEDED,
            NONE.model_copy(update={"keep": keep, "seed": seed}),
            1,
            {metric: value},
        )
        for keep, values in figures.items()
        for seed, value in enumerate(values)
    ]


def example_runs():
    runs = runs_of(
        {
            (1.0, 1.0, 1.0): BASE_FIGURES,
            (0.9, 0.8, 0.8): (0.9310, 0.9282, 0.9301, 0.9306, 0.9299),
            (0.95, 0.9, 0.9): (0.9468, 0.9470, 0.9461, 0.9479, 0.9470),
            (1.0, 0.5, 0.5): (0.9391, 0.9362),
        }
    )
    spec = NONE.model_copy(update={"seed": 9})
    return [
        *runs,
        ComparedJob(90, JobState.FAILED, spec, None, {}),
        ComparedJob(91, JobState.FAILED, spec, None, {}),
        ComparedJob(95, JobState.QUEUED, spec, None, {}),
    ]


@pytest.fixture
def example():
    return comparison_table(compare(example_runs()))


def listing(*values, **options):
    """Make a table of one column."""
    return Table((Column("name", "name", **options),), [{"name": value} for value in values])


def show(table, format="table", *, width=80, color=False, ascii=False):
    return render(table, format, width=width, color=color, ascii=ascii)


@pytest.mark.parametrize("ascii", [False, True])
@pytest.mark.parametrize("width", [20, 40, 80, 120, 200])
def test_no_line_is_wider_than_the_width(example, width, ascii):
    lines = show(example, width=width, ascii=ascii).splitlines()

    assert max(map(cell_len, lines)) <= width


def test_a_wide_comparison_shows_every_column(example):
    text = show(example, width=200)

    header = text.splitlines()[2]
    assert header.split("  ")[0] == "keep"
    assert all(column.title in header for column in example.columns)
    assert "Not shown" not in text


def test_a_narrow_comparison_names_the_columns_it_leaves_out(example):
    words = " ".join(show(example, width=80).split())

    left_out = "Not shown at 80 columns: not in n, 95 % interval, sd, min..max; use --format csv"
    assert left_out in words
    assert "too few seeds: " in words


def test_what_a_comparison_concludes_stays_longest(example):
    narrow, narrower = (show(example, width=width) for width in (80, 60))

    assert narrow.splitlines()[2].split() == [
        *("keep", "n", "mean", "diff", "diff", "95", "%", "interval", "p", "verdict")
    ]
    assert narrower.splitlines()[2].split() == [
        *("keep", "diff", "diff", "95", "%", "interval", "verdict")
    ]


def test_a_value_that_all_rows_share_goes_into_the_title_before_any_other_column_is_left_out():
    columns = (
        Column("job", "job"),
        Column("lr", "rate", priority=50, factors_out=True),
        Column("dataset", "data set", priority=90, factors_out=True),
    )
    rows = [{"job": job, "lr": job / 8, "dataset": "digits"} for job in (1, 2)]
    table = Table(columns, rows)

    wide, narrow = show(table), show(table, width=15)
    one = show(replace(table, rows=rows[:1]), width=15)

    assert "In all rows" not in wide
    assert narrow.splitlines()[:3] == ["In all rows:", "data set digits", "job  rate"]
    assert "Not shown" not in narrow
    assert one.splitlines()[0] == "job  data set", "one row shares nothing"


def test_columns_of_least_priority_are_left_out_first():
    columns = (Column("a", "aaaa"), Column("b", "bbbb", priority=2), Column("c", "cc", priority=1))
    table = Table(columns, [{"a": "1", "b": "2", "c": "3"}])

    assert show(table, width=14).splitlines()[0] == "aaaa  bbbb  cc"
    assert show(table, width=13).splitlines()[0] == "aaaa  bbbb"
    assert show(table, width=9).splitlines()[0] == "aaaa"


def test_cells_are_folded_before_a_column_is_left_out_and_only_then():
    columns = (Column("a", "a", fold=6), Column("b", "b", priority=1))
    table = Table(columns, [{"a": "one two three", "b": "bbbb"}])

    assert show(table, width=19).splitlines()[2:] == ["one two three  bbbb"]
    assert show(table, width=18).splitlines()[2:] == ["one     bbbb", "two", "three"]
    assert show(table, width=11).splitlines()[2] == "one"
    assert "Not shown at 11 columns: b" in " ".join(show(table, width=11).split())


def test_an_essential_cell_is_folded_and_never_cut():
    text = show(listing("x" * 100), width=30)

    assert text.count("x") == 100
    assert "…" not in text


def test_a_long_cell_is_cut_where_the_width_is_limited_and_its_column_says_so():
    table = listing("a long reason for a failure", max_length=10)

    assert show(table).splitlines()[-1] == "a long re…"
    assert show(table, ascii=True).splitlines()[-1] == "a long re..."
    assert show(table, width=None).splitlines()[-1] == "a long reason for a failure"


def test_without_a_width_every_column_is_there_and_no_line_is_folded():
    columns = tuple(Column(f"c{i}", f"column {i}", priority=i) for i in range(100))
    table = Table(columns, [{column.name: "x" * 50 for column in columns}], title=("t" * 500,))

    lines = show(table, width=None).splitlines()

    assert len(lines) == 4
    assert lines[0] == "t" * 500
    assert lines[1].split()[-1] == "99"
    assert lines[3].count("x") == 5000


@pytest.mark.parametrize("ascii", [False, True])
def test_without_a_width_a_table_looks_as_on_a_terminal_that_is_wide_enough(example, ascii):
    untitled = listing("日本語", "x\ny", "é", None)
    for table in (example, untitled, listing(), replace(untitled, footnotes=("a note",))):
        assert show(table, width=None, ascii=ascii) == show(table, width=10_000, ascii=ascii)


def test_columns_without_a_title_have_no_heading():
    columns = (Column("name", ""), Column("value", ""))

    assert show(Table(columns, [{"name": "revision", "value": 7}])) == "revision  7"


def test_wide_characters_take_two_cells():
    text = show(listing("深層学習" * 5), width=20)

    assert max(map(cell_len, text.splitlines())) <= 20


def test_ascii_output_is_ascii(example):
    table = Table(example.columns, example.rows, title=("± … — → ü",), footnotes=("naïve 深",))

    for format in ("table", "md"):
        text = show(table, format, ascii=True)
        assert text.encode("ascii")
        assert text.startswith("+- ... - ->")


def test_a_missing_value_is_a_dash_for_people_and_empty_for_programs():
    table = listing(None)

    assert "—" in show(table)
    assert show(table, "csv") == 'name\n""'
    assert json.loads(show(table, "json")) == [{"name": None}]


def test_color_is_used_only_when_asked_for(example, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")

    assert "\x1b[32m" in show(listing("better", style=lambda _: "green"), color=True)
    assert "\x1b" not in show(example)


def test_markup_in_text_is_not_read_as_markup():
    assert "[red]x[/red] :smile:" in show(listing("[red]x[/red] :smile:"))


@pytest.mark.parametrize("format", ["table", "md"])
@pytest.mark.parametrize("text", NASTY)
def test_control_characters_are_shown_as_escapes(format, text):
    table = Table((Column("name", text),), [{"name": text}], title=(text,), footnotes=(text,))

    shown = show(table, format)

    kinds = {unicodedata.category(char) for char in shown if char != "\n"}
    assert not kinds & {"Cc", "Cf", "Zl", "Zp"}
    assert printable(text) in shown.replace("\\\\", "\\").replace("\\[", "[")


@given(st.text(), st.booleans())
def test_any_text_makes_one_printable_line(text, ascii):
    shown = printable(text, ascii)

    assert shown.isprintable()
    assert shown.isascii() or not ascii


def test_markdown_escapes_what_would_end_a_cell():
    lines = show(listing("a|b", "`*<b>\\"), "md").splitlines()

    assert lines == ["| name |", "| --- |", r"| a\|b |", r"| \`\*\<b>\\ |"]


def test_markdown_has_every_row_column_title_and_footnote(example):
    text = show(example, "md")

    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == len(example.rows) + 2
    assert {row.count(" | ") for row in rows} == {len(example.columns) - 1}
    assert text.startswith(example.title[0])
    assert "- Not included: 2 failed (jobs 90..91), 1 unfinished (job 95)." in text


def test_json_of_a_listing_is_a_list_of_raw_rows():
    when = datetime(2026, 11, 2, 3, 4, 5, tzinfo=UTC)
    columns = (Column("job_id", "job"), Column("value", "value"), Column("at", "at"))
    rows = [{"job_id": 7, "value": 0.1 + 0.2, "at": when, "hidden": "not a column"}]

    parsed = json.loads(show(Table(columns, rows), "json"))

    assert parsed == [{"job_id": 7, "value": 0.1 + 0.2, "at": "2026-11-02T03:04:05+00:00"}]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_json_and_csv_have_no_nan_or_infinity(value):
    table = listing(value, (1.0, value))

    assert json.loads(show(table, "json")) == [{"name": None}, {"name": [1.0, None]}]
    assert "nan" not in show(table, "csv").replace("name", "").lower()
    assert "inf" not in show(table, "csv").lower()


def test_json_of_a_comparison_is_one_object_with_its_rows(example):
    comparison = compare(example_runs())

    parsed = json.loads(show(example, "json"))

    assert parsed["baseline"] == comparison.baseline.configuration
    assert parsed["metric"] == "valid_accuracy"
    assert (parsed["failed"], parsed["unfinished"]) == ([90, 91], [95])
    assert [row["mean"] for row in parsed["rows"]] == [row.mean for row in comparison.rows]
    assert parsed["rows"][1]["keep"] == [0.9, 0.8, 0.8]
    assert parsed["conclusion"] == conclude(comparison)


def test_csv_parses_back_to_the_full_precision_figures(example):
    comparison = compare(example_runs())

    rows = list(csv.DictReader(io.StringIO(show(example, "csv"))))

    assert len(rows) == len(comparison.rows)
    for parsed, row in zip(rows[1:], comparison.rows[1:], strict=True):
        for name in ("mean", "low", "high", "std", "difference", "difference_low", "p_holm"):
            assert float(parsed[name]) == getattr(row, name)
        assert parsed["configuration"] == row.configuration
        assert parsed["keep"] == ",".join(map(str, row.spec.keep))
        assert parsed["verdict"] == row.verdict
    assert rows[0]["difference"] == ""


@pytest.mark.parametrize("text", FORMULAS)
def test_csv_text_is_never_a_spreadsheet_formula(text):
    for value in (text, [text, "x"]):
        rows = list(csv.reader(io.StringIO(show(listing(value), "csv"), newline="")))
        assert rows[1][0].startswith(f"'{text}")


def test_negative_numbers_in_csv_stay_numbers():
    assert show(listing(-1.5, -2), "csv") == "name\n-1.5\n-2"


def test_rows_may_be_objects():
    @dataclass(frozen=True)
    class Row:
        name: str

    table = Table((Column("name", "name"),), [Row("ada")])

    for format in ("table", "md", "csv", "json"):
        assert "ada" in show(table, format)


def test_a_table_without_rows_is_its_header():
    assert show(listing(), "csv") == "name"
    assert json.loads(show(listing(), "json")) == []
    assert show(listing()).splitlines()[0] == "name"


def test_plain_values_read_well():
    assert format_default(True) == "yes"
    assert format_default(0.1 + 0.2) == "0.3"
    assert format_default(("a", "b")) == "a,b"
    assert format_default(JobState.FAILED) == "failed"
    assert format_default(datetime(2026, 11, 2, 3, 4, 5, tzinfo=UTC)) == "2026-11-02 03:04:05"


def test_the_title_says_what_is_compared_and_what_all_rows_share(example):
    assert example.title == (
        "Validation accuracy on 10,000 images, higher is better",
        "mnist, hidden 512x3, lr 0.1, batch 1000, 10 epochs",
    )


def test_a_conclusion_names_the_winner_the_margin_and_p():
    runs = runs_of({(1.0,) * 3: BASE_FIGURES, (0.5,) * 3: [a - 0.02 for a in BASE_FIGURES]})

    assert conclude(compare(runs)) == (
        "Keep 0.5,0.5,0.5 is worse than no dropout by 2.00 points (p < 0.001)."
    )


def test_a_conclusion_about_many_rows_stays_short():
    figures = {
        (keep,) * 3: [a - 1 + keep for a in BASE_FIGURES] for keep in (1, 0.9, 0.8, 0.7, 0.6)
    }

    assert conclude(compare(runs_of(figures))).endswith("See the verdicts for 1 more.")


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ([], "There is only one configuration"),
        ([0.93], "Too few seeds to call any configuration better or worse than no dropout"),
        (BASE_FIGURES[::-1], "No configuration can be called better or worse than no dropout"),
    ],
)
def test_a_conclusion_admits_what_cannot_be_said(other, expected):
    runs = runs_of({(1.0,) * 3: BASE_FIGURES, (0.5,) * 3: other})

    assert conclude(compare(runs)).startswith(expected)


def test_a_conclusion_waits_for_seeds_that_are_queued_before_it_asks_for_more():
    runs = runs_of({(1.0,) * 3: BASE_FIGURES, (0.5,) * 3: BASE_FIGURES[:2]})
    queued = [replace(run, job_id=100 + run.job_id, state=JobState.QUEUED) for run in runs]
    to_come = [run for run in queued if run.spec.has_dropout and run.spec.seed in {0, 1}]
    runs = [run for run in runs if not run.spec.has_dropout]

    table = comparison_table(compare([*runs, *to_come]))

    assert table.footnotes[0].startswith("2 jobs are queued or running: wait")
    assert [row["verdict"] for row in table.rows] == ["baseline", "wait for 2 seeds"]
    assert [row["others"] for row in table.rows] == [None, "2 queued"]


@pytest.mark.parametrize(
    ("metric", "difference"),
    [("valid_accuracy", "-1.00 pt"), ("valid_loss", "-0.0100"), ("seconds", "-0.01 s")],
)
def test_differences_carry_their_unit(metric, difference):
    other = [a - 0.01 for a in BASE_FIGURES]
    runs = runs_of({(1.0,) * 3: BASE_FIGURES, (0.5,) * 3: other}, metric)

    assert difference in show(comparison_table(compare(runs, metric)), width=200)


def test_repeats_and_their_disagreement_are_noted():
    runs = runs_of({(1.0,) * 3: BASE_FIGURES})
    again = ComparedJob(50, JobState.SUCCEEDED, runs[0].spec, 1, {"valid_accuracy": 0.5})

    notes = comparison_table(compare([*runs, again])).footnotes

    assert "Each seed counts once, so repeats are not included: job 50." in notes
    assert any("job 50 gave a different figure" in note for note in notes)


def test_both_methods_in_one_comparison_get_a_column():
    runs = runs_of({(1.0,) * 3: BASE_FIGURES, (0.5,) * 3: BASE_FIGURES})
    strangers = [
        ComparedJob(50 + seed, JobState.SUCCEEDED, spec, 1, {"valid_accuracy": 0.9 + seed / 1000})
        for seed in (7, 8)
        for spec in [NONE.model_copy(update={"keep": (0.7,) * 3, "seed": seed})]
    ]

    text = show(comparison_table(compare([*runs, *strangers])), width=200)

    assert "Welch or paired by seed" in text
    assert "  method" in text
