import pytest

from models.state import JobState
from service.analysis.comparison import compare
from service.reports.comparison_table import title_comparison
from service.reports.plots.differences import chart_differences
from service.reports.plots.plotly_figure import draw_figure
from unit.service.reports.comparisons import make_configurations

HALF = {"keep": (0.5,) * 3}


def chart(jobs, metric="valid_accuracy", **options):
    comparison = compare(jobs, metric, **options)
    return comparison, chart_differences(comparison, title_comparison(comparison, "final"))


def marks(drawn):
    """Return the marks from the first row to the last."""
    return sorted(
        (mark for series in drawn.series for mark in series.marks), key=lambda mark: mark.y
    )


def test_a_row_is_its_difference_in_points_with_the_interval_of_the_table():
    comparison, drawn = chart(make_configurations([{}, HALF, {"keep": (0.8,) * 3}]))

    for number, (row, mark) in enumerate(zip(comparison.rows[1:], marks(drawn), strict=True)):
        assert mark.y == number
        assert mark.x == pytest.approx(100 * row.difference)
        assert (mark.low, mark.high) == pytest.approx(
            (100 * row.difference_low, 100 * row.difference_high)
        )
    assert drawn.rows == ("keep 0.5,0.5,0.5", "keep 0.8,0.8,0.8")
    assert drawn.title == "Difference from no dropout"
    assert drawn.x_title == "Points, better to the right"
    assert drawn.x_range[0] < 0 < drawn.x_range[1]


def test_a_loss_is_better_to_the_left_and_in_nats():
    jobs = make_configurations([{}, HALF], "valid_loss")

    _, drawn = chart(jobs, "valid_loss")

    assert drawn.x_title == "Nats, better to the left"
    assert marks(drawn)[0].x == pytest.approx(0.01, abs=0.001)


def test_a_row_is_coloured_by_its_verdict_which_the_legend_names():
    jobs = make_configurations([{}, HALF, {"keep": (0.8,) * 3}, {"keep": (0.9,) * 3}], seeds=8)
    below = [job for job in jobs if job.spec.keep == (0.8,) * 3]
    same = [job for job in jobs if job.spec.keep == (0.9,) * 3]
    for job, none in zip([*below, *same], 2 * jobs[:8], strict=True):
        job.metrics["valid_accuracy"] = none.metrics["valid_accuracy"] + (
            -0.05 if job in below else 0.0002 * (job.spec.seed % 2) - 0.0001
        )

    comparison, drawn = chart(jobs)

    assert [row.verdict for row in comparison.rows][1:3] == ["better", "worse"]
    found = {series.legend: (series.marks[0].y, series.style.color) for series in drawn.series}
    assert found == {
        "better": (0, "#009E73"),
        "worse": (1, "#D55E00"),
        "undecided": (2, "#7F8896"),
    }
    assert "colour: verdict, corrected for 3 tests" in drawn.note


def test_a_difference_that_is_small_enough_has_a_colour_too():
    jobs = make_configurations([{}, HALF], seeds=8, step=0, spread=0)

    _, drawn = chart(jobs, smallest=0.002)

    assert [(each.legend, each.style.color) for each in drawn.series] == [
        ("within 0.20 points", "#0072B2")
    ]


def test_a_row_without_an_interval_is_a_ring_and_says_so():
    _, drawn = chart(make_configurations([{}, HALF], seeds=2))

    (series,) = drawn.series
    assert series.legend == "too few seeds for an interval"
    assert series.style.symbol == "circle-open"
    assert (series.marks[0].low, series.marks[0].high) == (None, None)
    assert drawn.rows[0].startswith("keep 0.5,0.5,0.5\ntoo few seeds: ")


def test_a_tooltip_names_difference_seeds_interval_verdict_and_p():
    _, drawn = chart(make_configurations([{}, HALF]))

    assert marks(drawn)[0].text == (
        "keep 0.5,0.5,0.5",
        "+1.04 pt over 5 shared seeds",
        "95 % interval +0.69..+1.39 pt",
        "better, p 0.011",
    )


def test_a_difference_that_is_far_out_is_at_the_edge():
    rates = [{"keep": (rate / 10,) * 3} for rate in range(10, 1, -1)]
    jobs = make_configurations(rates)
    for job in jobs[-5:]:
        job.metrics["valid_accuracy"] -= 0.5

    _, drawn = chart(jobs)

    (far,) = (series for series in drawn.series if series.legend == "off the scale, lower")
    assert far.style.symbol == "triangle-left"
    assert drawn.x_range[0] < far.marks[0].x < 0
    assert drawn.x_range[0] > -10
    assert far.marks[0].text[1] == "-41.98 pt over 5 shared seeds"


def test_long_labels_are_broken_between_fields():
    changes = {**HALF, "lr": 0.05, "momentum": 0.95, "lr_decay": 0.98, "mask": "sample"}

    _, drawn = chart(make_configurations([{}, changes]))

    assert drawn.rows[0].split("\n") == [
        "keep 0.5,0.5,0.5 lr 0.05",
        "a mask per sample",
        "momentum 0.95 lr decay 0.98",
    ]


@pytest.mark.parametrize(("metric", "first"), [("valid_accuracy", "lr 11"), ("valid_loss", "lr 2")])
def test_of_very_many_rows_the_best_are_drawn(metric, first):
    changes = [{"lr": 1.0 + number} for number in range(70)]

    _, drawn = chart(make_configurations(changes, metric, seeds=4, step=0.001), metric)

    assert len(drawn.rows) == 60
    assert drawn.rows[0] == first
    assert "the 9 worst are left out" in drawn.note


def test_without_a_difference_there_is_no_chart():
    jobs = make_configurations([{}, HALF], seeds=1)
    unfinished = [jobs[0], type(jobs[1])(2, JobState.RUNNING, jobs[1].spec, None, {})]

    assert chart(unfinished)[1] is None
    assert chart(jobs[:1])[1] is None


def test_a_row_that_is_pooled_over_strata_says_so():
    changes = [{"lr": lr, "keep": (keep,) * 3} for lr in (0.1, 0.3) for keep in (1.0, 0.5)]

    comparison, drawn = chart(make_configurations(changes), by=("lr",))

    (mark,) = marks(drawn)
    assert mark.x == pytest.approx(100 * comparison.rows[1].difference)
    assert mark.text[1].endswith("over 5 shared seeds, pooled over 2 strata")


def test_a_row_without_an_interval_has_no_bar_either():
    def bars(seeds):
        return [
            trace
            for trace in draw_figure(chart(make_configurations([{}, HALF], seeds=seeds))[1])["data"]
            if "error_x" in trace
        ]

    assert bars(3) == []
    (trace,) = bars(5)
    assert trace["error_x"]["array"] == pytest.approx(trace["error_x"]["arrayminus"])
