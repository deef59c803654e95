from service.analysis.comparison import compare
from service.analysis.rates import find_keep_rate, list_rate_lines
from unit.service.reports.comparisons import NONE, make_configurations


def lines(*changes, metric="valid_accuracy", seeds=2):
    """Return the lines of configurations that differ from NONE in these fields."""
    jobs = make_configurations(changes, metric=metric, seeds=seeds)
    return list_rate_lines(compare(jobs, metric))


def rates(line):
    return [find_keep_rate(row.spec) for row in line.rows]


def test_a_stratum_is_a_line_from_the_lowest_rate_to_the_highest():
    found = lines(
        {"lr": 0.1},
        {"lr": 0.3, "keep": (0.8,) * 3},
        {"lr": 0.1, "keep": (0.5,) * 3},
        {"lr": 0.1, "keep": (0.8,) * 3},
        {"lr": 0.3},
    )

    assert [(line.label, rates(line)) for line in found] == [
        ("lr 0.1", [0.5, 0.8, 1.0]),
        ("lr 0.3", [0.8, 1.0]),
    ]


def test_rates_that_differ_by_layer_are_at_their_mean():
    (line,) = lines({}, {"keep": (0.9, 0.8, 0.7)}, {"keep": (0.5,) * 3})

    assert line.label == ""
    assert rates(line) == [0.5, 0.8, 1.0]


def test_a_field_at_its_default_is_in_the_label_too():
    found = lines({}, {"keep": (0.5,) * 3}, {"keep": (0.5,) * 3, "input_keep": 0.8})

    assert [line.label for line in found] == ["input keep 1", "input keep 0.8"]


def test_where_no_stratum_has_two_rates_there_are_no_lines():
    assert lines({}, {"lr": 0.3}) == []
    assert lines({"lr": 0.1}, {"lr": 0.3, "keep": (0.5,) * 3}) == []


def test_a_configuration_without_a_result_is_in_no_line():
    jobs = make_configurations([{}, {"keep": (0.5,) * 3}], seeds=1)

    assert list_rate_lines(compare(jobs[:1])) == []
    assert NONE.configuration == jobs[0].spec.configuration


def test_of_many_lines_the_five_best_and_the_baselines_stand_out():
    changes = [{"lr": lr / 10, "keep": (keep,) * 3} for lr in range(1, 11) for keep in (1.0, 0.5)]

    found = lines(*changes, metric="valid_loss")

    prominent = [line.label for line in found if line.is_prominent]
    assert prominent == ["lr 0.1", "lr 0.2", "lr 0.3", "lr 0.4", "lr 0.5", "lr 0.6"]


def test_where_rows_are_pooled_the_lines_are_of_their_strata():
    changes = [{"lr": lr, "keep": (keep,) * 3} for lr in (0.1, 0.3) for keep in (1.0, 0.5)]

    found = list_rate_lines(compare(make_configurations(changes), by=("lr",)))

    assert [(line.label, rates(line)) for line in found] == [
        ("lr 0.1", [0.5, 1.0]),
        ("lr 0.3", [0.5, 1.0]),
    ]
