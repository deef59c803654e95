import csv
import io
import json
import math
import unicodedata
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest
from rich.cells import cell_len

from service.analysis.comparison import compare
from service.formatting import printable
from service.reports.comparison_table import comparison_table
from service.reports.table import Column, Table, render
from unit.service.reports.comparisons import make_example_jobs

NASTY = ["\x1b[31mred\x1b[0m", "two\nlines", "tab\there", "\u202egnp", "\x9b2J", "a\rb", "\u2028"]
FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"]


@pytest.fixture
def example():
    return comparison_table(compare(make_example_jobs()))


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
