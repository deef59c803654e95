"""A small published table, judged from the results of stored jobs."""

import pytest

from integration import rows
from integration.rows import FakeBroker
from models.database import Database
from models.metrics import EpochMetrics
from models.spec import ExperimentSpec
from service import jobs
from service.analysis.reproduction import (
    NotEnoughEvidence,
    NotMet,
    PublishedTable,
    Reproduction,
    Verdict,
    find_scale,
    judge,
    list_specs,
)
from service.jobs import SubmitOptions, Submitted
from service.queries.jobs import list_compared_jobs
from service.queries.selectors import ids_condition
from service.specs.grid import repeat
from worker.execution.recorder import AttemptUpdate, Recorder

#: Of 300 test images; the second row reports the error that the first does the accuracy of.
TABLE = PublishedTable.model_validate(
    {
        "version": 1,
        "title": "Digits",
        "citation": "Nobody: Nothing. 2026.",
        "seeds": 5,
        "rows": [
            {
                "cell": "plain",
                "spec": {"dataset": "digits", "hidden": 8, "batch_size": 100, "epochs": 2},
                "reported": {"valid_accuracy": [0.9]},
                "tolerance": {"valid_accuracy": 0.01},
            },
            {
                "cell": "dropout",
                "spec": {
                    "dataset": "digits",
                    "hidden": 8,
                    "batch_size": 100,
                    "epochs": 2,
                    "drop": 0.2,
                },
                "reported": {"test_error": [0.15, 0.17]},
                "tolerance": {"test_error": 0.01},
            },
        ],
        "claims": [{"better": "plain", "than": "dropout"}],
        "scales": {"small": {"says": "one epoch", "spec": {"epochs": 1}}},
    }
)
MET = {"plain": 0.9, "dropout": 0.84}


def submit(database: Database, scale: str | None = None, seeds: int = 5) -> Submitted:
    """Submit what is missing of the table, as `dq reproduce` does."""
    specs = list_specs(TABLE, find_scale(TABLE, scale))
    options = SubmitOptions(tags=("reproduce",), reuse=True)
    token = f"{scale} {seeds}"
    return jobs.submit(database, FakeBroker(), repeat(specs, range(seeds)).specs, options, token)


def run(recorder: Recorder, job_ids: tuple[int, ...], accuracies: dict[str, float]) -> None:
    """Run jobs to their end: the accuracy of their cell, and a thousandth more for each seed."""
    for job_id in job_ids:
        claim = rows.claim(recorder, job_id)
        cell = "dropout" if claim.spec.has_dropout else "plain"
        rows.succeed(recorder, claim, AttemptUpdate(measure(claim.spec, accuracies[cell])))


def measure(spec: ExperimentSpec, accuracy: float) -> list[EpochMetrics]:
    last = accuracy + spec.seed / 1000
    figures = [0.1] * (spec.epochs - 1) + [last]
    return [
        EpochMetrics(number, 0.5, 0.5, 0.5, figure, 0.01)
        for number, figure in enumerate(figures, start=1)
    ]


def judge_jobs(database: Database, submitted: Submitted, scale: str | None = None) -> Reproduction:
    runs = list_compared_jobs(database, ids_condition(submitted.job_ids))
    return judge(TABLE, find_scale(TABLE, scale), runs)


def verdicts(report: Reproduction) -> list[Verdict]:
    return [row.verdict for row in (*report.rows, *report.claims)]


def test_a_table_is_met_by_the_last_epochs_of_finished_jobs(database: Database, recorder: Recorder):
    submitted = submit(database)
    run(recorder, submitted.created, MET)

    report = judge_jobs(database, submitted)

    assert verdicts(report) == [Verdict.MET] * 3
    assert [(row.n, row.mean) for row in report.rows] == [
        (5, pytest.approx(0.902)),
        (5, pytest.approx(0.158)),
    ]
    report.check()  # raises nothing


def test_a_table_is_contradicted_by_finished_jobs(database: Database, recorder: Recorder):
    submitted = submit(database)
    run(recorder, submitted.created, {"plain": 0.8, "dropout": 0.84})

    report = judge_jobs(database, submitted)

    assert verdicts(report) == [Verdict.NOT_MET, Verdict.MET, Verdict.NOT_MET]
    with pytest.raises(NotMet):
        report.check()


def test_jobs_that_wait_run_or_failed_leave_a_table_undecided(
    database: Database, recorder: Recorder
):
    submitted = submit(database)
    _, running, failing, *_ = submitted.created
    rows.record(recorder, rows.claim(recorder, running), AttemptUpdate(rows.measured_all()[:1]))
    rows.fail(recorder, rows.claim(recorder, failing), "diverged at epoch 1")

    report = judge_jobs(database, submitted)

    assert verdicts(report) == [Verdict.UNDECIDED] * 3
    assert [row.n for row in report.rows] == [0, 0]
    with pytest.raises(NotEnoughEvidence):
        report.check()


def test_a_row_of_which_all_jobs_were_cancelled_leaves_a_table_undecided(
    database: Database, recorder: Recorder
):
    submitted = submit(database)
    plain, dropout = submitted.created[::2], submitted.created[1::2]
    run(recorder, plain, MET)
    jobs.cancel(database, ids_condition(dropout))

    report = judge_jobs(database, submitted)

    assert verdicts(report) == [Verdict.MET, Verdict.UNDECIDED, Verdict.UNDECIDED]


def test_what_is_finished_is_judged_again_without_being_run_again(
    database: Database, recorder: Recorder
):
    first = submit(database)
    run(recorder, first.created, MET)

    second = submit(database, seeds=4)

    assert second.created == ()
    assert len(second.finished_before) == 8
    assert verdicts(judge_jobs(database, second)) == [Verdict.MET] * 3


def test_more_seeds_run_only_what_is_missing(database: Database, recorder: Recorder):
    first = submit(database, seeds=1)
    run(recorder, first.created, MET)

    more = submit(database, seeds=5)
    run(recorder, more.created, MET)

    assert more.finished_before == first.created
    assert len(more.created) == 8
    assert verdicts(judge_jobs(database, first)) == [Verdict.MET, Verdict.MET, Verdict.UNDECIDED]
    assert verdicts(judge_jobs(database, more)) == [Verdict.MET] * 3


def test_for_a_stand_in_only_the_claims_are_judged(database: Database, recorder: Recorder):
    submitted = submit(database, "small")
    run(recorder, submitted.created, {"plain": 0.5, "dropout": 0.3})

    report = judge_jobs(database, submitted, "small")

    assert verdicts(report) == [Verdict.NOT_COMPARABLE] * 2 + [Verdict.MET]
    report.check()  # raises nothing


def test_results_of_another_scale_do_not_count(database: Database, recorder: Recorder):
    small = submit(database, "small")
    run(recorder, small.created, MET)

    full = submit(database)

    assert full.finished_before == ()
    assert verdicts(judge_jobs(database, full)) == [Verdict.UNDECIDED] * 3
