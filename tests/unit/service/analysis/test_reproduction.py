import json

import pytest
import yaml

from models.errors import UsageError
from models.metrics import HIGHER_IS_BETTER
from models.spec import ExperimentSpec
from models.state import JobState
from service.analysis.reproduction import (
    TEST_ERROR,
    NotEnoughEvidence,
    NotMet,
    PublishedTable,
    Verdict,
    find_scale,
    judge,
    list_shipped,
    list_specs,
    load_table,
)
from service.analysis.statistics import estimate_interval
from service.queries.rows import ComparedJob
from service.reports.reproduction_tables import claim_table, figure_table
from service.specs.grid import repeat

#: An accuracy on 300 images moves in steps of 0.0033, so no spread counts as smaller.
PLAIN = {"dataset": "digits", "hidden": "8x2", "batch_size": 100}
DROPOUT = {**PLAIN, "keep": [0.9, 0.8]}
REPORTED = {"reported": {"valid_accuracy": [0.9]}, "tolerance": {"valid_accuracy": 0.02}}
PLAIN_WINS = {"better": "plain", "than": "dropout"}
TABLE = {
    "version": 1,
    "title": "A small table",
    "citation": "Nobody: Nothing. 2026.",
    "rows": [
        {"cell": "plain", "spec": PLAIN, **REPORTED},
        {"cell": "dropout", "spec": DROPOUT, **REPORTED},
    ],
    "claims": [PLAIN_WINS],
    "scales": {"small": {"says": "one layer less", "spec": {"width": 4, "epochs": 1}}},
}
SHIPPED = [(name, scale) for name in list_shipped() for scale in ["full", *load_table(name).scales]]


def make_table(**changes):
    return PublishedTable.model_validate({**TABLE, **changes})


def make_row(**changes):
    return {"cell": "plain", "spec": PLAIN, **REPORTED, **changes}


def make_run(spec, job_id, figure, state=JobState.SUCCEEDED, metric="valid_accuracy"):
    metrics = {**dict.fromkeys(HIGHER_IS_BETTER, 0.5), metric: figure}
    is_done = state is JobState.SUCCEEDED
    return ComparedJob(job_id, state, spec, 1 if is_done else None, metrics if is_done else {})


def make_runs(table, scale=None, metric="valid_accuracy", **figures):
    """Make runs with these figures for each row, a seed each; rows are named by their cell."""
    specs = {row.cell: spec for row, spec in zip(table.rows, list_specs(table, scale), strict=True)}
    seeded = [
        (specs[cell].model_copy(update={"seed": seed}), figure)
        for cell, of_cell in figures.items()
        for seed, figure in enumerate(of_cell)
    ]
    return [
        make_run(spec, job_id, figure, metric=metric)
        for job_id, (spec, figure) in enumerate(seeded, start=1)
    ]


def judge_figures(figures, metric="valid_accuracy", **row):
    """Judge one row of one figure by the figures of its runs."""
    table = make_table(rows=[make_row(**row)], claims=[])
    return judge(table, None, make_runs(table, metric=metric, plain=figures)).rows[0]


def judge_claim(claim=PLAIN_WINS, metric="valid_accuracy", **figures):
    table = make_table(claims=[claim])
    return judge(table, None, make_runs(table, metric=metric, **figures)).claims[0]


@pytest.mark.parametrize(("name", "scale"), SHIPPED)
def test_every_row_of_a_shipped_table_is_an_experiment_at_every_scale(name, scale):
    table = load_table(name)

    specs = list_specs(table, find_scale(table, scale))

    of_row = {row.cell: spec for row, spec in zip(table.rows, specs, strict=True)}
    assert all(of_row[claim.better] != of_row[claim.than] for claim in table.claims)


@pytest.mark.parametrize("name", list_shipped())
def test_a_shipped_table_is_whole(name):
    table = load_table(name)

    cells = [row.cell for row in table.rows]
    assert len(set(cells)) == len(set(list_specs(table, None))) == len(cells)
    assert all(row.reported.keys() == row.tolerance.keys() for row in table.rows)
    assert all(set(row.reported) <= {*HIGHER_IS_BETTER, TEST_ERROR} for row in table.rows)
    assert {name for claim in table.claims for name in (claim.better, claim.than)} <= set(cells)
    assert "full" not in table.scales
    assert table.citation


@pytest.mark.parametrize("name", list_shipped())
def test_a_row_that_reports_an_error_on_test_images_is_repeated_on_test_images(name):
    table = load_table(name)

    specs = zip(table.rows, list_specs(table, None), strict=True)

    assert all(spec.evaluation == "test" for row, spec in specs if TEST_ERROR in row.reported)


def test_the_notebooks_table_is_the_notebooks_experiment():
    dropout, plain = list_specs(load_table("notebook"), None)

    assert dropout == ExperimentSpec(keep=(0.9, 0.8, 0.8))
    assert plain == ExperimentSpec()


def test_a_stand_in_narrows_every_layer_and_leaves_their_number():
    table = load_table("srivastava2014")

    full = list_specs(table, None)
    small = list_specs(table, find_scale(table, "small"))

    assert [set(spec.hidden) for spec in small] == [{256}] * len(small)
    assert [len(spec.hidden) for spec in small] == [len(spec.hidden) for spec in full]
    assert [spec.keep for spec in small] == [spec.keep for spec in full]


@pytest.mark.parametrize("scale", [None, "full"])
def test_the_full_size_is_what_is_meant_where_no_scale_is_named(scale):
    assert find_scale(make_table(), scale) is None


def test_a_scale_that_a_table_has_not_is_refused_with_those_it_has():
    with pytest.raises(UsageError, match="--scale tiny: this table has full, small"):
        find_scale(make_table(), "tiny")


@pytest.mark.parametrize(
    ("figures", "verdict"),
    [
        ([0.9, 0.9], Verdict.MET),
        ([0.89, 0.91, 0.915], Verdict.MET),
        ([0.915], Verdict.MET),
        ([0.5, 1.0, 1.0, 1.0, 1.0], Verdict.MET),
        ([], Verdict.UNDECIDED),
        ([0.5], Verdict.UNDECIDED),
        ([0.97], Verdict.UNDECIDED),
        ([0.93, 0.97], Verdict.UNDECIDED),
        ([0.95, 0.95, 0.95], Verdict.UNDECIDED),
        ([0.8, 0.92, 0.8], Verdict.UNDECIDED),
        ([0.95, 0.951, 0.949] * 2, Verdict.NOT_MET),
        ([0.85, 0.851, 0.849] * 2, Verdict.NOT_MET),
    ],
)
def test_a_figure_is_met_in_its_band_and_contradicted_if_the_interval_is_off_it(figures, verdict):
    row = judge_figures(figures)

    assert row.verdict is verdict
    assert row.n == len(figures)


def test_seeds_of_equal_figures_have_a_spread_of_half_an_image_all_the_same():
    assert judge_figures([0.925] * 4).verdict is Verdict.UNDECIDED
    assert judge_figures([0.94] * 4).verdict is Verdict.NOT_MET


def test_a_row_tells_our_figures_beside_those_reported():
    figures = [0.86, 0.88, 0.9] * 2

    row = judge_figures(figures)

    assert (row.cell, row.metric) == ("plain", "valid_accuracy")
    assert (row.reported, row.tolerance, row.n) == (0.9, 0.02, 6)
    assert (row.mean, row.deviation) == (pytest.approx(0.88), pytest.approx(-0.02))
    assert (row.low, row.high) == pytest.approx(estimate_interval(figures))


def test_without_a_run_there_is_no_figure_and_no_deviation():
    row = judge_figures([])

    assert (row.n, row.mean, row.low, row.high, row.deviation) == (0, None, None, None, None)


def test_one_seed_has_no_interval():
    row = judge_figures([0.9])

    assert (row.n, row.mean, row.low, row.high) == (1, 0.9, None, None)


def test_what_was_reported_of_several_runs_counts_as_their_mean():
    row = judge_figures(
        [0.93, 0.93],
        reported={"valid_accuracy": [0.92, 0.94]},
        tolerance={"valid_accuracy": 0.001},
    )

    assert row.reported == pytest.approx(0.93)
    assert row.verdict is Verdict.MET


def test_a_test_error_is_the_complement_of_the_accuracy_and_so_is_its_interval():
    error = {"reported": {TEST_ERROR: [0.1]}, "tolerance": {TEST_ERROR: 0.005}}

    row = judge_figures([0.86, 0.88, 0.9] * 2, **error)

    low, high = estimate_interval([0.86, 0.88, 0.9] * 2)
    assert (row.metric, row.mean) == (TEST_ERROR, pytest.approx(0.12))
    assert (row.low, row.high) == pytest.approx((1 - high, 1 - low))
    assert row.deviation == pytest.approx(0.02)
    assert row.verdict is Verdict.UNDECIDED
    assert judge_figures([0.9, 0.9], **error).verdict is Verdict.MET
    assert judge_figures([0.7] * 4, **error).verdict is Verdict.NOT_MET
    assert judge_figures([0.95], **error).low is None


def test_each_metric_that_was_reported_of_a_row_is_judged_on_its_own():
    both = {
        "reported": {"valid_accuracy": [0.9], "valid_loss": [2.0]},
        "tolerance": {"valid_accuracy": 0.02, "valid_loss": 0.1},
    }
    table = make_table(rows=[make_row(**both)], claims=[])

    rows = judge(table, None, make_runs(table, plain=[0.9] * 4)).rows

    assert [(row.metric, row.verdict) for row in rows] == [
        ("valid_accuracy", Verdict.MET),
        ("valid_loss", Verdict.NOT_MET),  # it is 0.5 in all runs here
    ]


def test_runs_of_other_configurations_count_for_no_row():
    table = make_table(claims=[])
    others = [make_run(ExperimentSpec(seed=seed), seed + 1, 0.1) for seed in range(5)]

    report = judge(table, None, others + make_runs(table, plain=[0.9, 0.9]))

    assert [(row.cell, row.n, row.verdict) for row in report.rows] == [
        ("plain", 2, Verdict.MET),
        ("dropout", 0, Verdict.UNDECIDED),
    ]


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.QUEUED, JobState.RUNNING])
def test_a_run_without_a_result_is_in_no_figure(state):
    table = make_table()
    plain, dropout = list_specs(table, None)
    unfinished = [make_run(plain, 8, None, state), make_run(dropout, 9, None, state)]

    report = judge(table, None, unfinished)

    assert [(row.n, row.mean, row.verdict) for row in report.rows] == [
        (0, None, Verdict.UNDECIDED)
    ] * 2
    assert report.claims[0].verdict is Verdict.UNDECIDED


def test_a_row_whose_runs_were_all_cancelled_is_as_one_that_was_never_run():
    table = make_table()
    plain, dropout = list_specs(table, None)
    cancelled = [
        make_run(spec, n, None, JobState.CANCELLED) for n, spec in enumerate((plain, dropout))
    ]

    report = judge(table, None, cancelled)

    assert {row.verdict for row in (*report.rows, *report.claims)} == {Verdict.UNDECIDED}


@pytest.mark.parametrize(
    ("figures", "verdict"),
    [
        ({"plain": [0.95, 0.96] * 2, "dropout": [0.9, 0.91] * 2}, Verdict.MET),
        ({"plain": [0.9, 0.91] * 2, "dropout": [0.95, 0.96] * 2}, Verdict.NOT_MET),
        ({"plain": [0.9, 0.95, 0.9], "dropout": [0.9, 0.9, 0.93]}, Verdict.UNDECIDED),
        ({"plain": [0.9, 0.9], "dropout": [0.9, 0.9]}, Verdict.UNDECIDED),
        ({"plain": [0.99], "dropout": [0.1]}, Verdict.UNDECIDED),
        ({"plain": [0.95, 0.96], "dropout": []}, Verdict.UNDECIDED),
        ({"plain": [], "dropout": [0.95, 0.96]}, Verdict.UNDECIDED),
        ({"plain": [], "dropout": []}, Verdict.UNDECIDED),
    ],
)
def test_a_claim_is_what_the_comparison_of_its_rows_says(figures, verdict):
    assert judge_claim(**figures).verdict is verdict


def test_a_claim_tells_our_difference_and_its_p():
    claim = judge_claim(plain=[0.95, 0.96] * 3, dropout=[0.9, 0.91] * 3)

    assert (claim.better, claim.than, claim.metric) == ("plain", "dropout", "valid_accuracy")
    assert claim.difference == pytest.approx(0.05)
    assert claim.p < 0.01


def test_a_claim_without_runs_of_both_its_rows_has_no_difference():
    claim = judge_claim(plain=[0.95, 0.96])

    assert (claim.difference, claim.p) == (None, None)


def test_less_loss_is_what_a_claim_about_a_loss_calls_better():
    claim = {**PLAIN_WINS, "metric": "valid_loss"}

    less = judge_claim(claim, "valid_loss", plain=[0.1, 0.11] * 2, dropout=[0.5, 0.51] * 2)
    more = judge_claim(claim, "valid_loss", plain=[0.5, 0.51] * 2, dropout=[0.1, 0.11] * 2)

    assert (less.verdict, more.verdict) == (Verdict.MET, Verdict.NOT_MET)


def test_of_a_stand_in_only_the_claims_are_judged():
    table = make_table()
    small = find_scale(table, "small")
    runs = make_runs(table, small, plain=[0.5, 0.51] * 2, dropout=[0.4, 0.41] * 2)

    report = judge(table, small, runs)

    assert {row.verdict for row in report.rows} == {Verdict.NOT_COMPARABLE}
    assert [row.mean for row in report.rows] == pytest.approx([0.505, 0.405], abs=1e-4)
    assert report.claims[0].verdict is Verdict.MET
    report.check()  # raises nothing


def test_a_claim_about_rows_that_a_stand_in_makes_one_and_the_same_is_undecided():
    rows = [make_row(), make_row(cell="dropout", spec={**PLAIN, "hidden": "16x2"})]
    table = make_table(rows=rows)
    small = find_scale(table, "small")

    report = judge(table, small, make_runs(table, small, plain=[0.9, 0.9]))

    assert report.claims[0].verdict is Verdict.UNDECIDED


def test_runs_of_the_full_size_count_for_no_stand_in():
    table = make_table()

    report = judge(table, find_scale(table, "small"), make_runs(table, plain=[0.9, 0.9]))

    assert [row.n for row in report.rows] == [0, 0]


def test_a_table_that_is_met_is_no_error():
    table = make_table()
    runs = make_runs(table, plain=[0.914, 0.915] * 3, dropout=[0.885, 0.886] * 3)

    report = judge(table, None, runs)

    assert {row.verdict for row in (*report.rows, *report.claims)} == {Verdict.MET}
    report.check()  # raises nothing


def test_one_contradicted_figure_makes_a_table_not_met_whatever_else_is_undecided():
    table = make_table()
    report = judge(table, None, make_runs(table, plain=[0.5] * 4))

    with pytest.raises(NotMet, match="Not met: 1 of 3 published figures and claims") as error:
        report.check()

    assert error.value.exit_code == 4


def test_a_contradicted_claim_makes_a_table_not_met_though_its_figures_are():
    table = make_table()
    runs = make_runs(table, plain=[0.885, 0.886] * 3, dropout=[0.914, 0.915] * 3)

    with pytest.raises(NotMet, match="1 of 3"):
        judge(table, None, runs).check()


def test_what_cannot_be_judged_asks_for_more_seeds():
    table = make_table()
    report = judge(table, None, make_runs(table, plain=[0.9, 0.9], dropout=[0.95]))

    with pytest.raises(NotEnoughEvidence, match=r"2 of 3 .* add --seeds") as error:
        report.check()

    assert error.value.exit_code == 5


def write(tmp_path, value):
    file = tmp_path / "table.yaml"
    file.write_text(value if isinstance(value, str) else yaml.safe_dump(value))
    return str(file)


def test_a_yaml_file_is_a_table(tmp_path):
    assert load_table(write(tmp_path, TABLE)) == make_table()


def test_rows_may_have_in_common_what_an_anchor_names(tmp_path):
    text = """
    version: 1
    title: A table
    citation: Nobody
    rows:
      - cell: a
        spec: &base {dataset: digits, hidden: 8, batch-size: 50}
        reported: &loss {valid_loss: [1]}
        tolerance: {valid_loss: 1}
      - {cell: b, spec: {<<: *base, drop: 0.2}, reported: *loss, tolerance: {valid_loss: 1}}
    """

    a, b = list_specs(load_table(write(tmp_path, text)), None)

    assert (a.hidden, a.batch_size, a.keep) == ((8,), 50, (1.0,))
    assert (b.hidden, b.batch_size, b.keep) == ((8,), 50, (0.8,))


def test_a_table_that_there_is_not_is_refused_with_those_there_are():
    with pytest.raises(UsageError) as refusal:
        load_table("nowhere")

    assert "There is no table 'nowhere'" in str(refusal.value)
    assert all(name in str(refusal.value) for name in list_shipped())


def without(name):
    return {key: value for key, value in TABLE.items() if key != name}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", "it must have version, title, citation, seeds and rows"),
        ("[]", "it must have version, title, citation, seeds and rows"),
        ("rows: [", "while parsing"),
        ("- !!python/object/apply:os.system ['true']", "could not determine a constructor"),
        ("version: !!bool perhaps", ""),
        ("[" * 2000, ""),
        (without("citation"), "citation: Field required"),
        (without("rows"), "rows: Field required"),
        ({**TABLE, "rows": []}, "rows: List should have at least 1 item"),
        ({**TABLE, "colour": "blue"}, "colour: Extra inputs are not permitted"),
        ({**TABLE, "seeds": 0}, "seeds: Input should be greater than or equal to 1"),
        ({**TABLE, "rows": [make_row(colour=1)]}, r"rows\.0\.colour: Extra inputs"),
        ({**TABLE, "rows": [make_row(spec=None)]}, r"rows\.0\.spec: Input should be"),
        ({**TABLE, "rows": [make_row(reported={"valid_accuracy": []})]}, "at least 1 item"),
        ({**TABLE, "rows": [make_row(reported={"valid_accuracy": 0.9})]}, "valid list"),
        ({**TABLE, "claims": [{"better": "plain"}]}, r"claims\.0\.than: Field required"),
        ({**TABLE, "scales": {"small": {"spec": {}}}}, r"scales\.small\.says: Field required"),
    ],
    ids=lambda value: str(value)[-40:],
)
def test_a_file_that_is_no_table_is_refused_with_what_is_wrong(tmp_path, value, message):
    file = write(tmp_path, value)

    with pytest.raises(UsageError, match=rf"is not a published table: .*{message}") as refusal:
        load_table(file)

    assert file in str(refusal.value)


NOWHERE = {**PLAIN_WINS, "than": "nowhere"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"claims": [NOWHERE]}, "nowhere"),
        ({"claims": [{**PLAIN_WINS, "metric": "elegance"}]}, "elegance"),
        ({"claims": [{**PLAIN_WINS, "than": "plain"}]}, "plain"),
        ({"rows": [make_row(tolerance={})], "claims": []}, "tolerance"),
        ({"rows": [make_row(tolerance={"valid_accuracy": -1})], "claims": []}, "tolerance"),
        (
            {
                "rows": [make_row(reported={"elegance": [1]}, tolerance={"elegance": 1})],
                "claims": [],
            },
            "elegance",
        ),
        ({"rows": [make_row(), make_row(spec=DROPOUT)], "claims": []}, "plain"),
    ],
    ids=[
        "a claim that names no row",
        "an unknown metric of a claim",
        "a claim of a row and itself",
        "no tolerance",
        "a tolerance below 0",
        "an unknown metric",
        "two rows of one name",
    ],
)
def test_a_table_that_could_not_be_judged_is_refused_before_anything_is_run(
    tmp_path, changes, message
):
    file = write(tmp_path, {**TABLE, **changes})

    with pytest.raises(UsageError, match=message):
        load_table(file)


def test_a_claim_of_a_test_error_is_met_by_a_smaller_error():
    claim = {**PLAIN_WINS, "metric": TEST_ERROR}
    low, high = [0.9, 0.91] * 2, [0.95, 0.96] * 2

    met = judge_claim(claim, plain=high, dropout=low)
    not_met = judge_claim(claim, plain=low, dropout=high)

    assert (met.verdict, met.difference) == (Verdict.MET, pytest.approx(-0.05))
    assert (not_met.verdict, not_met.difference) == (Verdict.NOT_MET, pytest.approx(0.05))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"rate": 0.1}, "plain: unknown field 'rate'"),
        ({"lr": -1}, "plain: lr -1: a learning rate is a finite number above 0"),
        ({**PLAIN, "keep": [0.9] * 3}, "plain: keep 0.9,0.9,0.9: 3 rates for 2 hidden layers"),
    ],
)
def test_a_row_that_is_no_experiment_is_refused_by_its_name(spec, message):
    with pytest.raises(UsageError, match=message):
        list_specs(make_table(rows=[make_row(spec=spec)], claims=[]), None)


def test_a_scale_that_makes_no_experiment_is_refused():
    table = make_table(scales={"odd": {"says": "odd", "spec": {"rate": 1}}})

    with pytest.raises(UsageError, match="unknown field 'rate'"):
        list_specs(table, find_scale(table, "odd"))


def test_the_shipped_tables_are_listed_with_their_scales(dq):
    listed = json.loads(dq("reproduce", "--json").stdout)

    assert (
        [row["name"] for row in listed]
        == list_shipped()
        == ["notebook", "small-data", "srivastava2014"]
    )
    assert all(row["scales"][0] == "full" for row in listed)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere"], "There is no table 'nowhere': give one of notebook"),
        (["notebook", "--scale", "tiny"], "--scale tiny: this table has full, small"),
        (["notebook", "--seeds", "0"], "--seeds"),
    ],
)
def test_reproduce_refuses_what_makes_no_sense_and_leaves_nothing_behind(dq, home, words, message):
    done = dq("reproduce", *words)

    assert done.exit_code == 2
    assert message in done.stderr
    assert not home.exists()


def test_a_table_of_claims_alone_can_be_printed():
    none = {"reported": {}, "tolerance": {}}
    rows = [make_row(**none), make_row(cell="dropout", spec=DROPOUT, **none)]
    report = judge(make_table(rows=rows), None, [])

    assert figure_table(report).json_value["figures"] == []
    assert len(claim_table(report).rows) == 1


def test_seeds_of_the_rows_of_a_table_are_those_asked_for():
    table = make_table(rows=[make_row(spec={**PLAIN, "seed": 99})], claims=[])

    specs = repeat(list_specs(table, None), range(table.seeds)).specs

    assert [spec.seed for spec in specs] == [0, 1, 2]
