import pytest

from service.analysis.comparison import compare
from service.reports.comparison_table import title_comparison
from service.reports.plots.rates import chart_rates
from unit.service.reports.comparisons import make_configurations

HALF = {"keep": (0.5,) * 3}


def chart(*changes, **options):
    comparison = compare(make_configurations(changes, **options))
    return comparison, chart_rates(comparison, title_comparison(comparison, "final"))


def test_a_seed_is_a_dot_and_a_configuration_a_mean_with_the_interval_of_the_table():
    comparison, drawn = chart({}, HALF)

    seeds, means = drawn.series
    none, half = comparison.rows
    assert sorted(mark.y for mark in seeds.marks) == sorted(
        [*none.values.values(), *half.values.values()]
    )
    assert [(mark.x, mark.y, mark.low, mark.high) for mark in means.marks] == [
        (0.5, half.mean, half.low, half.high),
        (1.0, none.mean, none.low, none.high),
    ]
    assert (seeds.has_line, means.has_line, means.intervals) == (False, True, "vertical")
    assert means.legend is None, "nothing to tell apart"
    assert drawn.title == "Validation accuracy on 10,000 images, higher is better"


def test_a_tooltip_names_configuration_seed_job_value_and_interval():
    _, drawn = chart({}, HALF)

    seeds, means = drawn.series
    assert seeds.marks[0].text == ("keep 0.5,0.5,0.5", "seed 0: 0.5110", "job 100")
    assert means.marks[0].text == (
        "keep 0.5,0.5,0.5",
        "mean 0.5112 of 5 seeds",
        "95 % interval 0.5090..0.5134",
    )


def test_with_too_few_seeds_there_is_no_interval_and_the_tooltip_says_so():
    _, drawn = chart({}, HALF, seeds=3)

    mark = drawn.series[1].marks[0]
    assert (mark.low, mark.high) == (None, None)
    assert mark.text[-1] == "too few seeds for an interval"


def test_a_stratum_is_a_line_beside_the_others():
    _, drawn = chart({"lr": 0.1}, {**HALF, "lr": 0.1}, {"lr": 0.3}, {**HALF, "lr": 0.3})

    first, second = (series for series in drawn.series if series.legend)
    assert (first.legend, second.legend) == ("lr 0.1", "lr 0.3")
    assert first.style != second.style
    assert first.marks[0].x < 0.5 < second.marks[0].x
    assert second.marks[0].x - first.marks[0].x < 0.1


def test_rates_that_differ_by_layer_are_diamonds_at_their_mean_on_no_line():
    _, drawn = chart({}, HALF, {"keep": (0.9, 0.8, 0.7)})

    _, line, mixed = drawn.series
    assert [mark.x for mark in line.marks] == [0.5, 1.0]
    assert [mark.x for mark in mixed.marks] == [0.8]
    assert (mixed.style.symbol, mixed.has_line) == ("diamond", False)
    assert mixed.marks[0].text[0] == "keep 0.9,0.8,0.7"
    assert "diamond: layers of different rates, at their mean" in drawn.note


def test_a_configuration_that_is_far_out_does_not_set_the_axis():
    rates = [{"keep": (rate / 10,) * 3} for rate in range(10, 0, -1)]
    jobs = make_configurations(rates)
    jobs = [job for job in jobs if job.job_id < 900] + [
        *make_configurations([{"keep": (0.1,) * 3}], step=0, spread=0)
    ]
    far = [job.job_id for job in jobs if job.spec.keep == (0.1,) * 3]
    for job in jobs:
        if job.job_id in far:
            job.metrics["valid_accuracy"] = -9.0

    comparison = compare(jobs)
    drawn = chart_rates(comparison, title_comparison(comparison, "final"))

    assert drawn.y_range[0] == pytest.approx(0.5, abs=0.02)
    assert "off the scale: 1 mean" in drawn.note


def test_where_the_rates_do_not_vary_there_is_no_chart():
    _, drawn = chart({}, {"lr": 0.3})

    assert drawn is None


def test_of_many_strata_the_rest_is_grey_with_one_name_in_the_legend():
    strata = [{"lr": lr / 10} for lr in range(1, 11)]
    _, drawn = chart(*(each | rate for each in strata for rate in ({}, HALF)))

    assert [series.legend for series in drawn.series if series.legend] == [
        "4 others",
        *("lr 0.1", "lr 0.6", "lr 0.7", "lr 0.8", "lr 0.9", "lr 1"),
    ]
    assert "grey: 4 others" in drawn.note


def test_where_rows_are_pooled_a_tooltip_names_the_stratum_too():
    jobs = make_configurations([each | rate for each in ({}, {"lr": 0.3}) for rate in ({}, HALF)])
    comparison = compare(jobs, by=("lr",))

    drawn = chart_rates(comparison, title_comparison(comparison, "final"))

    assert drawn.series[0].marks[0].text[0] == "lr 0.1 keep 0.5,0.5,0.5"


def test_no_interval_is_drawn_beyond_the_values_that_a_mean_can_have():
    comparison, drawn = chart({}, HALF, seeds=4, spread=0.2)

    marks = drawn.series[1].marks
    assert [(mark.low, mark.high) for mark in marks] == [(0.0, 1.0)] * 2
    assert marks[0].text[-1].startswith("95 % interval -"), "as the table has it"
    assert comparison.baseline.low < 0 <= drawn.y_range[1] < 1.1
