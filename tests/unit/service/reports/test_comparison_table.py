import csv
import io
import itertools
import json
import re
from dataclasses import replace

import pytest

from models.spec import ExperimentSpec
from models.state import JobState
from service.analysis.comparison import compare
from service.analysis.row_order import arrange
from service.queries.rows import ComparedJob
from service.queries.where import parse_where
from service.reports.comparison_notes import conclude
from service.reports.comparison_table import comparison_table
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


GAIN = (0.0110, 0.0095, 0.0104, 0.0099, 0.0107)


def make_grid():
    """Make jobs at three learning rates: 0.5 is missing at the second, no dropout at the third."""
    kept = [a + b for a, b in zip(BASE_FIGURES, GAIN, strict=True)]
    figures = {(1.0,) * 3: BASE_FIGURES, (0.8,) * 3: kept, (0.5,) * 3: BASE_FIGURES[::-1]}
    jobs = [
        replace(
            job, job_id=100 * lr + job.job_id, spec=job.spec.model_copy(update={"lr": float(lr)})
        )
        for job in make_jobs(figures)
        for lr in (1, 2, 3)
    ]
    return [job for job in jobs if (job.spec.lr, job.spec.keep[0]) not in {(2, 0.5), (3, 1.0)}]


@pytest.fixture
def by_factor():
    return comparison_table(compare(make_grid(), by=["lr"]), selector="s7")


def test_a_grid_is_read_by_factor_in_two_tables(by_factor):
    page = show(by_factor, width=90)

    assert page.splitlines()[2:7] == [
        "Means over 2 strata, by lr",
        "In all rows: n 5",
        "keep         strata      diff  diff 95 % interval   diff in strata      p  verdict",
        "─" * 86,
        "none              2         —                   —                —      —  baseline",
    ]
    kept = "+1.03 pt     +0.87..+1.19 pt  +1.03..+1.03 pt  0.018  better"
    assert f"0.8,0.8,0.8       2  {kept}" in page
    assert "0.5,0.5,0.5  1 of 2" in page
    assert "\n\nWithin each stratum\nIn all rows: n 5\nlr  keep " in page
    assert (
        "\n 3  0.8,0.8,0.8  0.9574  0.9547..0.9602  0.0011         —                   —\n" in page
    )


def test_a_line_shows_how_much_its_difference_varies_over_strata():
    more = {1.0: 0.0, 2.0: 0.02}
    jobs = [
        replace(job, metrics={"valid_accuracy": job.metrics["valid_accuracy"] + more[job.spec.lr]})
        if job.spec.keep[0] == 0.8
        else job
        for job in make_grid()
        if job.spec.lr in more
    ]

    table = comparison_table(arrange(compare(jobs, by=["lr"]), top=1))

    ranges = [row["strata_range"] for row in table.rows]
    assert ranges == [None, pytest.approx((0.0103, 0.0303))]


@pytest.mark.parametrize(
    "fields",
    [
        {"hidden": (16,)},
        {"hidden": (16, 8)},
        {"hidden": (16, 16), "train_size": 2000, "max_norm": 2.5, "lr": 1e-5},
        {"mask": "sample", "evaluation": "test", "precision": "bf16", "momentum": 0.5},
    ],
)
def test_a_note_has_a_condition_for_the_first_stratum_that_can_be_typed(fields):
    jobs = [
        replace(job, job_id=number, spec=ExperimentSpec(**more, keep=keep, seed=job.spec.seed))
        for number, (more, keep, job) in enumerate(
            itertools.product([{}, fields], [(1,), (0.5,)], make_jobs({(1.0,) * 3: BASE_FIGURES}))
        )
    ]

    table = comparison_table(compare(jobs, by=[*fields], mix=True))

    found = re.search(r"--where '(.+)'$", table.below.footnotes[0])
    assert found is not None
    assert [part.split(" == ")[0] for part in found[1].split(" and ")] == [*fields]
    parse_where(found[1])


def test_notes_say_what_lines_over_strata_are(by_factor):
    notes = by_factor.footnotes

    assert notes[0] == (
        "Keep 0.8,0.8,0.8 is better than no dropout by 1.03 points on average over 2 strata "
        "(p = 0.018)."
    )
    text = " ".join(notes)
    assert "from no dropout within each stratum, over seeds that all strata have. " in text
    assert "corrected for 2 tests (Holm)" in text
    assert "Over fewer strata, compare the difference and not the mean." in notes
    assert "Not pooled, for want of no dropout: lr 3." in notes
    assert by_factor.below.footnotes[0].endswith("For a verdict in one stratum: --where 'lr == 1'")


@pytest.mark.parametrize(
    ("rates", "missing"),
    [({1.0, 0.8}, "s7 --seeds 4"), ({1.0, 0.8, 0.5}, "101,106,201,206 --seeds 5")],
)
def test_seeds_that_are_missing_are_run_where_they_are_and_in_all_strata(rates, missing):
    few = [job for job in make_grid() if job.spec.seed < 2 and job.spec.keep[0] in rates]
    complete = [job for job in few if job.spec.lr < 3]
    best = arrange(compare(complete, by=["lr"]), top=1)

    notes = comparison_table(best, selector="s7").footnotes

    assert f"For more seeds: dq submit --fill {missing}" in notes


def test_seeds_are_not_run_in_strata_that_are_not_pooled():
    few = [job for job in make_grid() if job.spec.seed < 2 and job.spec.keep[0] > 0.5]

    notes = comparison_table(compare(few, by=["lr"]), selector="s7").footnotes

    assert "For more seeds: dq submit --fill 101,106,201,206 --seeds 4" in notes


def test_csv_and_json_have_the_lines_and_the_strata(by_factor):
    records = list(csv.DictReader(io.StringIO(show(by_factor, "csv"))))
    document = json.loads(show(by_factor, "json"))

    assert [(row["lr"], row["strata"], row["verdict"]) for row in records[:3]] == [
        ("", "2", "baseline"),
        ("", "2", "better"),
        ("", "1", "no evidence"),
    ]
    assert [row["lr"] for row in records[3:]] == ["1.0"] * 3 + ["2.0"] * 2 + ["3.0"] * 2
    assert [row["verdict"] for row in records[3:]] == ["baseline", "", "", "baseline", "", "", ""]
    assert (document["by"], document["rows"][1]["lr"], document["tests"]) == (["lr"], None, 2)
    assert [stratum["values"] for stratum in document["strata"]] == [{"lr": lr} for lr in (1, 2, 3)]
    assert document["strata"][0]["rows"][1]["label"] == "keep 0.8,0.8,0.8"


def test_markdown_has_both_tables(by_factor):
    assert show(by_factor, "md").count(" diff 95 % interval |") == 2


def test_rows_that_are_not_shown_are_counted_and_p_stays():
    whole, best = (arrange(compare(make_example_jobs()), top=top) for top in (None, 1))

    table = comparison_table(best)

    assert "Not shown: 2 more rows, for which p is corrected, too." in table.footnotes
    assert "corrected for 3 tests (Holm)" in " ".join(table.footnotes)
    assert {row.p_holm for row in best.rows} <= {row.p_holm for row in whole.rows}
    assert table.footnotes[0].startswith("No configuration shown can be called")
