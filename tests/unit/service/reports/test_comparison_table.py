import csv
import io
import json
from dataclasses import replace

import pytest

from models.state import JobState
from service.analysis.comparison import compare
from service.queries.rows import ComparedJob
from service.reports.comparison_table import comparison_table, conclude
from service.reports.table import render
from unit.service.reports.comparisons import BASE_FIGURES, make_example_jobs, make_jobs


@pytest.fixture
def example():
    return comparison_table(compare(make_example_jobs()))


def show(table, format="table", *, width=80, color=False, ascii=False):
    return render(table, format, width=width, color=color, ascii=ascii)


def test_the_title_says_what_is_compared_and_what_all_rows_share(example):
    assert example.title == (
        "Validation accuracy on 10,000 images, higher is better",
        "mnist, hidden 512x3, lr 0.1, batch 1000, 10 epochs",
    )


def test_a_conclusion_names_the_winner_the_margin_and_p():
    runs = make_jobs({(1.0,) * 3: BASE_FIGURES, (0.5,) * 3: [a - 0.02 for a in BASE_FIGURES]})

    assert conclude(compare(runs)) == (
        "Keep 0.5,0.5,0.5 is worse than no dropout by 2.00 points (p = 0.008)."
    )


def test_a_conclusion_about_many_rows_stays_short():
    figures = {
        (keep,) * 3: [a - 1 + keep for a in BASE_FIGURES] for keep in (1, 0.9, 0.8, 0.7, 0.6)
    }

    assert conclude(compare(make_jobs(figures))).endswith("See the verdicts for 1 more.")


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ([], "There is only one configuration"),
        ([0.93], "Too few seeds to call any configuration better or worse than no dropout"),
        (BASE_FIGURES[::-1], "No configuration can be called better or worse than no dropout"),
    ],
)
def test_a_conclusion_admits_what_cannot_be_said(other, expected):
    runs = make_jobs({(1.0,) * 3: BASE_FIGURES, (0.5,) * 3: other})

    assert conclude(compare(runs)).startswith(expected)


def test_a_conclusion_waits_for_seeds_that_are_queued_before_it_asks_for_more():
    runs = make_jobs({(1.0,) * 3: BASE_FIGURES, (0.5,) * 3: BASE_FIGURES[:4]})
    queued = [replace(run, job_id=100 + run.job_id, state=JobState.QUEUED) for run in runs]
    to_come = [run for run in queued if run.spec.has_dropout]
    runs = [run for run in runs if not run.spec.has_dropout]

    table = comparison_table(compare([*runs, *to_come]))

    assert table.footnotes[0].startswith("4 jobs are queued or running: wait")
    assert [row["verdict"] for row in table.rows] == ["baseline", "wait for 4 seeds"]
    assert [row["others"] for row in table.rows] == [None, "4 queued"]


@pytest.mark.parametrize(
    ("metric", "difference"),
    [("valid_accuracy", "-1.00 pt"), ("valid_loss", "-0.0100"), ("seconds", "-0.01 s")],
)
def test_differences_carry_their_unit(metric, difference):
    other = [a - 0.01 for a in BASE_FIGURES]
    runs = make_jobs({(1.0,) * 3: BASE_FIGURES, (0.5,) * 3: other}, metric)

    assert difference in show(comparison_table(compare(runs, metric)), width=200)


def test_repeats_and_their_disagreement_are_noted():
    runs = make_jobs({(1.0,) * 3: BASE_FIGURES})
    again = ComparedJob(50, JobState.SUCCEEDED, runs[0].spec, 1, {"valid_accuracy": 0.5})

    notes = comparison_table(compare([*runs, again])).footnotes

    assert "Each seed counts once, so repeats are not included: job 50." in notes
    assert any("job 50 gave a different figure" in note for note in notes)


@pytest.mark.parametrize(
    ("fixed_seeds", "words"),
    [
        (False, "Intervals and p hold however often you look or add seeds (any-time t test), "),
        (True, "Intervals and p are for seeds fixed beforehand (Student's t test), "),
    ],
)
def test_a_note_says_when_verdicts_hold(fixed_seeds, words):
    jobs = [job for job in make_example_jobs() if job.state is JobState.SUCCEEDED]

    notes = " ".join(comparison_table(compare(jobs, fixed_seeds=fixed_seeds)).footnotes)

    assert f"{words}corrected for 3 tests (Holm); better or worse where p < 0.05." in notes


def test_a_note_says_how_to_run_the_seeds_that_are_missing():
    runs = make_jobs({(1.0,) * 3: BASE_FIGURES, (0.5,) * 3: BASE_FIGURES[:2]})
    more = make_jobs({(keep,) * 3: BASE_FIGURES for keep in (0.99, 0.8)})
    worse = [
        replace(run, job_id=100 + run.job_id, metrics={"valid_accuracy": 0.1 + run.spec.seed / 1e4})
        for run in more
    ]

    alone = comparison_table(compare(runs), selector="s7").footnotes
    beside = comparison_table(compare([*runs, *worse]), selector="s7").footnotes

    assert "For more seeds: dq submit --fill s7 --seeds 4" in alone
    assert "For more seeds: dq submit --fill 1,6 --seeds 5" in beside, "not of what is decided"
    assert "dq submit" not in " ".join(comparison_table(compare(runs[:5])).footnotes)


def test_json_of_a_comparison_is_one_object_with_its_rows(example):
    comparison = compare(make_example_jobs())

    parsed = json.loads(show(example, "json"))

    assert parsed["baseline"] == comparison.baseline.configuration
    assert parsed["metric"] == "valid_accuracy"
    assert (parsed["failed"], parsed["unfinished"]) == ([90, 91], [95])
    assert [row["mean"] for row in parsed["rows"]] == [row.mean for row in comparison.rows]
    assert parsed["rows"][1]["keep"] == [0.9, 0.8, 0.8]
    assert parsed["conclusion"] == conclude(comparison)


def test_csv_parses_back_to_the_full_precision_figures(example):
    comparison = compare(make_example_jobs())

    rows = list(csv.DictReader(io.StringIO(show(example, "csv"))))

    assert len(rows) == len(comparison.rows)
    for parsed, row in zip(rows[1:], comparison.rows[1:], strict=True):
        for name in ("mean", "low", "high", "std", "difference", "difference_low", "p_holm"):
            value = getattr(row, name)
            assert parsed[name] == ("" if value is None else repr(value))
        assert parsed["configuration"] == row.configuration
        assert parsed["keep"] == ",".join(map(str, row.spec.keep))
        assert parsed["verdict"] == row.verdict
    assert rows[0]["difference"] == ""


def test_what_a_comparison_concludes_stays_longest(example):
    narrow, narrower = (show(example, width=width) for width in (80, 60))

    assert narrow.splitlines()[2].split() == [
        *("keep", "n", "mean", "diff", "diff", "95", "%", "interval", "p", "verdict")
    ]
    assert narrower.splitlines()[2].split() == [
        *("keep", "diff", "diff", "95", "%", "interval", "verdict")
    ]


def test_a_narrow_comparison_names_the_columns_it_leaves_out(example):
    words = " ".join(show(example, width=80).split())

    left_out = "Not shown at 80 columns: not in n, 95 % interval, sd, min..max; use --format csv"
    assert left_out in words
    assert "too few seeds: " in words


def test_a_wide_comparison_shows_every_column(example):
    text = show(example, width=200)

    header = text.splitlines()[2]
    assert header.split("  ")[0] == "keep"
    assert all(column.title in header for column in example.columns)
    assert "Not shown" not in text
