import csv
import io
import json
from dataclasses import asdict

import pytest

from models.errors import DqError, UsageError
from models.metrics import EpochMetrics
from models.spec import ExperimentSpec
from models.state import JobState
from service.analysis.comparison import compare
from service.analysis.curves import average
from service.queries.rows import ComparedJob, Curve
from service.reports.curve_table import curve_table, draw_sparkline
from service.reports.table import render

DROPOUT = (0.9, 0.8, 0.8)
BLOCKS = "▁▂▃▄▅▆▇█"


def curve(job_id, figures, *, metric="valid_accuracy", state=JobState.SUCCEEDED, **spec):
    """Make a job's curve of which one metric has these figures."""
    rest = {"train_loss": 1.0, "train_accuracy": 0.5, "valid_loss": 1.0, "valid_accuracy": 0.5}
    epochs = [
        EpochMetrics(epoch=number, **{**rest, "seconds": 1.0, metric: figure})
        for number, figure in enumerate(figures, start=1)
    ]
    made = ExperimentSpec(**{"hidden": (512, 512, 512), **spec})
    return Curve(job_id, state, made, tuple(epochs))


def rows(curves, metric="valid_accuracy"):
    return curve_table(curves, metric).rows


def show(curves, metric="valid_accuracy", format="table", *, ascii=False, width=120):
    table = curve_table(curves, metric, ascii=ascii)
    return render(table, format, width=width, color=False, ascii=ascii)


def notes(curves, metric="valid_accuracy"):
    return " ".join(curve_table(curves, metric).footnotes)


def test_a_row_is_the_mean_of_a_configuration_over_its_seeds():
    curves = [
        curve(1, [0.5, 0.7, 0.9], seed=0),
        curve(2, [0.7, 0.9, 0.8], seed=1),
        curve(3, [0.1, 0.2, 0.3], seed=0, keep=DROPOUT),
    ]

    plain, dropout = rows(curves)

    assert (plain["label"], plain["n"]) == ("no dropout", 2)
    assert plain["means"] == pytest.approx([0.6, 0.8, 0.85])
    assert (plain["first"], plain["best"], plain["last"]) == pytest.approx((0.6, 0.85, 0.85))
    assert plain["best_epoch"] == 3
    assert (dropout["label"], dropout["n"]) == ("keep 0.9,0.8,0.8", 1)


def test_the_rows_are_named_and_ordered_as_in_the_comparison():
    curves = [
        curve(1, [0.5], keep=DROPOUT, lr=0.1),
        curve(2, [0.5], lr=0.5),
        curve(3, [0.5], lr=0.1),
    ]

    labels = [row["label"] for row in rows(curves)]

    assert labels == ["no dropout lr 0.5", "keep 0.9,0.8,0.8 lr 0.1", "no dropout lr 0.1"]


@pytest.mark.parametrize(("metric", "best"), [("valid_accuracy", 2), ("valid_loss", 1)])
def test_the_best_epoch_is_the_earliest_with_the_best_mean(metric, best):
    (row,) = rows([curve(1, [0.3, 0.9, 0.9, 0.3], metric=metric)], metric)

    assert row["best_epoch"] == best


def test_all_curves_are_drawn_on_one_scale():
    curves = [curve(1, [0.0, 0.5, 1.0]), curve(2, [0.5, 0.5, 0.5], keep=DROPOUT)]

    high, middle = (row["curve"] for row in rows(curves))

    assert high == "▁▅█"
    assert middle == "▅▅▅"


def test_curves_that_never_change_are_drawn_in_the_middle():
    (row,) = rows([curve(1, [0.5, 0.5])])

    assert row["curve"] == "▅▅"


def test_a_long_curve_is_drawn_in_forty_characters_each_the_mean_of_its_epochs():
    (row,) = rows([curve(1, [epoch / 400 for epoch in range(400)], epochs=400)])

    assert len(row["curve"]) == 40
    assert row["curve"] == "".join(sorted(row["curve"]))
    assert (row["curve"][0], row["curve"][-1]) == ("▁", "█")
    assert "a character is 10 epochs" in notes([curve(1, [0.5] * 400)])


@pytest.mark.parametrize("epochs", [1, 39, 40, 41, 79, 100, 1000])
def test_no_length_makes_a_hole_or_too_many_characters(epochs):
    points = average([curve(1, [0.5] * epochs)], "valid_accuracy").curves[0].points

    drawn = draw_sparkline(points, epochs, (0.0, 1.0), BLOCKS)

    assert len(drawn) == min(epochs, 40)
    assert " " not in drawn


def test_curves_of_different_lengths_begin_together_and_share_the_axis():
    curves = [curve(1, [0.5] * 80, epochs=80), curve(2, [0.5] * 20, epochs=20, keep=DROPOUT)]

    long, short = (row["curve"] for row in rows(curves))

    assert (len(long), len(short)) == (40, 10)


def test_a_run_that_diverged_is_shown_as_far_as_it_got_and_noted():
    curves = [
        curve(1, [0.5, 0.6, 0.7], seed=0),
        curve(2, [0.1], seed=1, state=JobState.FAILED),
        curve(3, [0.1, 0.1], seed=2, state=JobState.RUNNING),
    ]

    (row,) = rows(curves)

    assert row["means"] == pytest.approx([0.7 / 3, 0.35, 0.7])
    assert (row["n"], row["n_last"]) == (1, 1)
    assert row["seeds"] == "1, 1 running, 1 failed"
    assert "1 running (job 3), 1 failed (job 2)" in notes(curves)


def test_jobs_without_an_epoch_are_noted_and_have_no_row():
    curves = [curve(1, [0.5]), curve(2, [], keep=DROPOUT, state=JobState.QUEUED)]

    (row,) = rows(curves)

    assert row["label"] == "no dropout"
    assert "Without an epoch so far: 1 queued (job 2)." in notes(curves)


def test_a_cancelled_run_is_shown_as_far_as_it_got():
    curves = [curve(1, [0.5]), curve(2, [0.6], keep=DROPOUT, state=JobState.CANCELLED)]

    assert [row["last"] for row in rows(curves)] == [0.5, 0.6]
    assert "1 cancelled (job 2)" in notes(curves)


def test_a_seed_counts_once_and_the_run_that_succeeded_goes_before_the_longer():
    curves = [
        curve(1, [0.1, 0.1, 0.1], state=JobState.FAILED),
        curve(2, [0.5, 0.6]),
        curve(3, [0.9, 0.9]),
    ]

    (row,) = rows(curves)

    assert (row["n"], row["means"]) == (1, [0.5, 0.6])
    assert "Each seed counts once, so repeats are not included: jobs 1, 3." in notes(curves)


def test_of_two_runs_of_a_seed_that_did_not_succeed_the_longer_counts():
    curves = [curve(1, [0.1], state=JobState.FAILED), curve(2, [0.5, 0.6], state=JobState.RUNNING)]

    (row,) = rows(curves)

    assert row["means"] == [0.5, 0.6]


def test_where_no_job_has_an_epoch_the_error_says_what_to_type():
    with pytest.raises(DqError, match="Type: dq status"):
        curve_table([curve(1, [], state=JobState.QUEUED)], "valid_accuracy")


@pytest.mark.parametrize("curves", [[], [curve(1, [], state=JobState.CANCELLED)]])
def test_no_jobs_at_all_are_refused_as_by_the_comparison(curves):
    with pytest.raises(UsageError, match="nothing to compare"):
        curve_table(curves, "valid_accuracy")


def test_several_data_sets_and_unknown_metrics_are_refused_as_by_the_comparison():
    mixed = [curve(1, [0.5]), curve(2, [0.5], dataset="fashion-mnist")]

    with pytest.raises(UsageError, match="more than one data set"):
        curve_table(mixed, "valid_accuracy")
    with pytest.raises(UsageError, match="Unknown metric 'speed'"):
        curve_table(mixed[:1], "speed")


def test_several_data_sets_are_mixed_on_demand_and_named_on_the_lines():
    mixed = [curve(1, [0.5]), curve(2, [0.5], dataset="fashion-mnist")]

    averaged = average(mixed, "valid_accuracy", mix=True)

    assert [each.label for each in averaged.curves] == ["mnist", "fashion-mnist"]
    assert averaged.title[0] == "Validation accuracy on 10,000 images, by epoch"


def test_a_loss_that_explodes_does_not_press_the_others_into_a_line():
    good = curve(1, [2.0, 1.0, 0.3], metric="valid_loss")
    bad = curve(2, [1e6, 1e12], metric="valid_loss", lr=9, state=JobState.FAILED)

    first, second = (row["curve"] for row in rows([good, bad], "valid_loss"))

    assert first == "▇▃▁"
    assert second == "██"
    assert "█ 2.3026" in notes([good, bad], "valid_loss")
    assert "above that of guessing" in notes([good, bad], "valid_loss")
    assert "1e+12" in show([good, bad], "valid_loss")


def test_losses_that_are_all_worse_than_guessing_still_differ():
    bad = curve(2, [10.0, 1000.0], metric="valid_loss")

    assert rows([bad], "valid_loss")[0]["curve"] == "▁█"


def compared(curves):
    """Return the jobs of these curves as a comparison reads them."""
    return [
        ComparedJob(each.job_id, each.state, each.spec, 1, asdict(each.epochs[-1]))
        for each in curves
    ]


@pytest.mark.parametrize("fixed_seeds", [False, True])
@pytest.mark.parametrize(
    ("metric", "figures"),
    [
        ("valid_accuracy", [0.90, 0.92, 0.97, 0.91]),
        ("valid_accuracy", [0.9, 0.9, 0.9, 0.9]),
        ("valid_loss", [0.3, 0.3, 0.3, 0.3, 0.3]),
        ("train_loss", [0.30, 0.31, 0.29, 0.30, 0.28]),
    ],
)
def test_the_band_ends_at_the_interval_of_the_table(metric, figures, fixed_seeds):
    curves = [
        curve(
            10 * number + seed, [0.5, 0.6, figure - number / 10], metric=metric, seed=seed, **spec
        )
        for number, spec in enumerate(({}, {"keep": DROPOUT}, {"batch_size": 700}))
        for seed, figure in enumerate(figures)
    ]

    rows = compare(compared(curves), metric, fixed_seeds=fixed_seeds).rows
    averaged = average(curves, metric, fixed_seeds=fixed_seeds).curves

    bands = [(each.last.mean, each.last.low, each.last.high) for each in averaged]
    assert bands == [(row.mean, row.low, row.high) for row in rows]
    assert all(low < high for _, low, high in bands), "half an image, if nothing else"


def test_three_seeds_are_too_few_for_a_band():
    four = [curve(seed, [0.5, 0.6][: 2 - seed // 3], seed=seed) for seed in range(4)]

    (averaged,) = average(four, "valid_accuracy").curves

    assert [(point.n, point.low is None) for point in averaged.points] == [(4, False), (3, True)]
    assert averaged.has_interval
    assert not average(four[:3], "valid_accuracy").curves[0].has_interval


def test_the_baseline_is_the_one_asked_for():
    curves = [curve(1, [0.5]), curve(2, [0.5], keep=DROPOUT)]

    averaged = average(curves, "valid_accuracy", "keep 0.9,0.8,0.8")

    assert averaged.baseline == averaged.curves[0].configuration == curves[1].spec.configuration


@pytest.mark.parametrize(
    ("metric", "best"), [("valid_accuracy", range(11, 6, -1)), ("valid_loss", range(1, 6))]
)
def test_of_many_curves_the_five_best_and_the_baseline_stand_out(metric, best):
    many = [curve(99, [0.5], metric=metric, lr=0.5)] + [
        curve(number, [0.9, number / 20], metric=metric, lr=float(number), keep=DROPOUT)
        for number in range(1, 12)
    ]

    drawn = average(many, metric).prominent

    assert [each.runs[0].job_id for each in drawn] == [99, *best]
    assert len(average(many[:8], metric).prominent) == 8


@pytest.mark.parametrize(
    ("metric", "title", "axis"),
    [
        ("valid_accuracy", "Validation accuracy on 10,000 images", "(fraction)"),
        ("train_loss", "Training loss of the last batch on 1,000 images", "(nats)"),
        ("seconds", "Time per epoch of", "Time per epoch (s)"),
    ],
)
def test_the_title_names_metric_images_and_data_set_and_the_axis_the_unit(metric, title, axis):
    averaged = average([curve(1, [0.5])], metric)

    assert averaged.title[0].startswith(title)
    assert averaged.title[0].endswith("of mnist, by epoch")
    assert averaged.title[1] == "hidden 512x3, lr 0.1, batch 1000, 10 epochs"
    assert averaged.axis.endswith(axis)


def test_what_was_taken_on_the_test_images_is_called_so():
    averaged = average([curve(1, [0.5], evaluation="test")], "valid_accuracy")

    assert averaged.title[0].startswith("Test accuracy")
    assert averaged.axis == "Test accuracy (fraction)"


def test_ascii_draws_with_ascii_alone():
    text = show([curve(1, [0.0, 0.25, 0.5, 0.75, 1.0])], ascii=True)

    assert "_.-=^" in text
    assert text.isascii()
    assert "\\" not in text


def test_a_narrow_terminal_keeps_configuration_best_and_curve():
    lines = show([curve(1, [0.5] * 10)], width=40).splitlines()

    assert max(map(len, lines)) <= 40
    (heading,) = [line for line in lines if line.startswith("configuration")]
    assert heading.split() == ["configuration", "best", "(epoch)", "curve"]
    assert any(line.endswith("▅▅▅▅▅▅▅▅▅▅") for line in lines)


def test_json_and_csv_have_the_means_as_figures():
    curves = [curve(1, [0.5, 0.75])]

    (document,) = json.loads(show(curves, format="json"))
    (line,) = csv.DictReader(io.StringIO(show(curves, format="csv")))

    assert document["means"] == [0.5, 0.75]
    assert document["configuration"] == curves[0].spec.configuration
    assert line["means"] == "0.5,0.75"
    assert (line["best"], line["best_epoch"], line["n"]) == ("0.75", "2", "1")
