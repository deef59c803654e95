from dataclasses import asdict, replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import true

from integration import rows
from integration.rows import PROVENANCE, SPEC, FakeBroker
from models.database import Database
from models.errors import UsageError
from models.message import Priority
from models.spec import TRAINER_VERSION
from models.state import JobState
from service import jobs
from service.queries.epoch_choice import EpochChoice
from service.queries.explanations import explain_wait
from service.queries.jobs import (
    count_jobs,
    count_states,
    list_baseline_jobs,
    list_compared_jobs,
    list_curves,
    list_ids,
    list_jobs,
    list_log,
    show_job,
)
from service.queries.progress import measure_left, measure_progress
from service.queries.selectors import ids_condition
from service.queries.workers import is_paused, list_workers
from service.reports.progress_tables import worker_table
from service.reports.table import render
from worker.execution.recorder import AttemptUpdate, Recorder

ALL = true()


def succeed(recorder: Recorder, job_id: int) -> None:
    claim = rows.claim(recorder, job_id)
    rows.begin(recorder, claim, PROVENANCE, 0)
    rows.succeed(recorder, claim, AttemptUpdate(rows.measured_all()))


def start(recorder: Recorder, job_id: int, epochs: int = 0) -> None:
    claim = rows.claim(recorder, job_id)
    rows.record(recorder, claim, AttemptUpdate(rows.measured_all()[:epochs]))


def test_jobs_are_counted_by_state_with_the_states_that_no_job_is_in(
    database: Database, recorder: Recorder
):
    first, second, _ = rows.submit(database, SPEC, SPEC, SPEC)
    succeed(recorder, first)
    start(recorder, second)

    states = count_states(database)

    assert states == {
        JobState.QUEUED: 1,
        JobState.RUNNING: 1,
        JobState.SUCCEEDED: 1,
        JobState.FAILED: 0,
        JobState.CANCELLED: 0,
    }


def test_selected_jobs_are_counted(database: Database):
    first, second, _ = rows.submit(database, SPEC, SPEC, SPEC)

    assert count_jobs(database, ALL) == 3
    assert count_jobs(database, ids_condition([first, second])) == 2
    assert count_jobs(database, ids_condition([99])) == 0


def test_a_queued_job_is_listed_without_metrics(database: Database):
    job_id = rows.submit_one(database, name="first")

    (row,) = list_jobs(database, ALL)

    assert (row.job_id, row.name, row.state, row.spec) == (job_id, "first", "queued", SPEC)
    assert (row.attempt, row.epochs_done, row.worker, row.held) == (0, 0, None, False)
    assert (row.started_at, row.finished_at, row.metrics) == (None, None, {})
    assert row.created_at.tzinfo is UTC
    assert isinstance(row.state, JobState)


def test_a_job_is_listed_with_the_metrics_of_its_last_epoch(database: Database, recorder: Recorder):
    job_id = rows.submit_one(database)
    start(recorder, job_id, epochs=2)

    (row,) = list_jobs(database, ALL)

    assert (row.state, row.worker, row.epochs_done) == ("running", "cpu0-1@here", 2)
    assert row.metrics == {
        "valid_accuracy": rows.measured(2).valid_accuracy,
        "valid_loss": 1.0,
        "train_accuracy": rows.measured(2).train_accuracy,
        "train_loss": 0.5,
    }


def test_the_newest_jobs_are_listed_first_up_to_the_limit(database: Database):
    job_ids = rows.submit(database, *[SPEC] * 4)

    rows_of_all = list_jobs(database, ALL)
    newest = list_jobs(database, ALL, limit=2)

    assert [row.job_id for row in rows_of_all] == job_ids[::-1]
    assert [row.job_id for row in newest] == [job_ids[3], job_ids[2]]


def test_only_jobs_with_results_are_compared_with_metrics(database: Database, recorder: Recorder):
    waits, runs, ended = rows.submit(database, SPEC, SPEC, SPEC)
    start(recorder, runs, epochs=2)
    succeed(recorder, ended)

    listed = {run.job_id: run for run in list_compared_jobs(database, ALL)}

    assert [*listed] == [waits, runs, ended]
    assert (listed[waits].metrics, listed[runs].metrics) == ({}, {})
    assert (listed[runs].state, listed[runs].trainer_version) == (JobState.RUNNING, None)
    assert (listed[ended].state, listed[ended].trainer_version) == (
        JobState.SUCCEEDED,
        TRAINER_VERSION,
    )
    assert listed[ended].spec == SPEC
    assert listed[ended].metrics == {
        "valid_accuracy": rows.measured(3).valid_accuracy,
        "valid_loss": rows.measured(3).valid_loss,
        "train_accuracy": rows.measured(3).train_accuracy,
        "train_loss": rows.measured(3).train_loss,
        "seconds": pytest.approx(0.75),
    }


def test_compared_jobs_have_the_metrics_of_the_chosen_epoch(database: Database, recorder: Recorder):
    ended, runs = rows.submit(database, SPEC, SPEC)
    succeed(recorder, ended)
    start(recorder, runs, epochs=2)

    first, running = list_compared_jobs(database, ALL, EpochChoice(epoch=1))
    best, _ = list_compared_jobs(database, ALL, EpochChoice(metric="train_accuracy"))

    assert first.metrics["valid_loss"] == rows.measured(1).valid_loss
    assert running.metrics == {}
    assert best.metrics["train_accuracy"] == rows.measured(3).train_accuracy


def test_the_best_epoch_is_that_of_the_lowest_loss_or_the_highest_accuracy(
    database: Database, recorder: Recorder
):
    job_id = rows.submit_one(database)
    losses = [
        replace(rows.measured(n), valid_loss=loss) for n, loss in ((1, 3.0), (2, 0.5), (3, 1))
    ]
    rows.succeed(recorder, rows.claim(recorder, job_id), AttemptUpdate(losses))

    (by_loss,) = list_compared_jobs(database, ALL, EpochChoice(metric="valid_loss"))
    (by_accuracy,) = list_compared_jobs(database, ALL, EpochChoice(metric="valid_accuracy"))

    assert by_loss.metrics["valid_loss"] == 0.5
    assert by_accuracy.metrics["valid_loss"] == 1


def test_a_baseline_that_is_a_condition_is_that_of_the_jobs_that_meet_it(database: Database):
    slow = SPEC.model_copy(update={"lr": 0.01})
    first, second, other = rows.submit(database, slow, slow, SPEC)
    here = ids_condition([second, other])

    assert list_baseline_jobs(database, ALL, "lr < 0.05") == [first, second]
    assert list_baseline_jobs(database, here, "lr in (0.01, 5)") == [second]
    assert list_baseline_jobs(database, ALL, "keep 0.5,0.5") is None
    assert list_baseline_jobs(database, ALL, None) is None
    with pytest.raises(UsageError, match=r"^--baseline 'lr <': a value is missing"):
        list_baseline_jobs(database, ALL, "lr <")


def test_curves_hold_all_epochs_of_the_selected_jobs(database: Database, recorder: Recorder):
    ended, runs, waits, other = rows.submit(database, SPEC, SPEC, SPEC, SPEC)
    succeed(recorder, ended)
    start(recorder, runs, epochs=2)
    start(recorder, other, epochs=1)

    curves = list_curves(database, ids_condition([ended, runs, waits]))

    assert [curve.job_id for curve in curves] == [ended, runs, waits]
    assert [curve.epochs for curve in curves] == [rows.measured_all(), rows.measured_all()[:2], ()]
    assert curves[1].state is JobState.RUNNING
    assert curves[1].spec == SPEC


def test_a_job_is_shown_with_its_tags_epochs_and_attempts(database: Database, recorder: Recorder):
    job_id = rows.submit_one(database, tags=("paper", "first"))
    claim = rows.claim(recorder, job_id)
    rows.begin(recorder, claim, PROVENANCE, 0)
    rows.record(recorder, claim, AttemptUpdate((rows.measured(1),), f"{job_id}/1-1-0", 1))
    rows.release(recorder, claim)
    second = rows.claim(recorder, job_id)
    rows.begin(recorder, second, PROVENANCE, 1)
    rows.succeed(recorder, second, AttemptUpdate((rows.measured(2), rows.measured(3))))

    detail = show_job(database, job_id)

    first_try, second_try = detail.attempts
    assert (detail.row.job_id, detail.row.state) == (job_id, "succeeded")
    assert detail.tags == ("first", "paper")
    assert detail.epochs == rows.measured_all()
    assert (first_try.number, first_try.outcome, first_try.resumed_epoch) == (1, "released", 0)
    assert (second_try.number, second_try.outcome, second_try.resumed_epoch) == (2, "succeeded", 1)
    assert second_try.provenance == asdict(PROVENANCE)
    assert first_try.ended_at
    assert second_try.ended_at
    assert first_try.started_at <= first_try.ended_at <= second_try.started_at


def test_a_job_that_does_not_exist_cannot_be_shown(database: Database):
    with pytest.raises(UsageError, match=r"no job 7\. Type: dq results"):
        show_job(database, 7)


def test_workers_are_listed_with_the_job_each_has(database: Database):
    (job_id,) = rows.submit(database, SPEC)
    rows.add_worker(database, "busy")
    rows.add_worker(database, "idle")
    rows.claim(Recorder(database, "busy", 30), job_id)

    busy, idle = list_workers(database)

    assert (busy.worker, busy.job_id, busy.device, busy.state) == ("busy", job_id, "cpu", "active")
    assert (idle.worker, idle.job_id) == ("idle", None)
    assert (datetime.now(UTC) - idle.started_at).total_seconds() == pytest.approx(100, abs=5)


def test_a_worker_is_listed_with_all_jobs_that_it_trains_together(database: Database):
    job_ids = rows.submit(database, *[SPEC] * 3)
    rows.add_worker(database, "busy")
    for job_id in job_ids:
        rows.claim(Recorder(database, "busy", 30), job_id)

    (busy,) = list_workers(database)
    listed = render(worker_table([busy]), "table", width=80, color=False, ascii=False)

    assert busy.job_ids == tuple(job_ids)
    assert f"{job_ids[0]}..{job_ids[-1]}" in listed


def test_a_worker_is_alive_as_long_as_its_heartbeat_is_fresh(database: Database):
    rows.add_worker(database, "fresh", silent_seconds=5)
    rows.add_worker(database, "silent", silent_seconds=60)

    fresh, silent = list_workers(database)

    assert (fresh.is_alive, silent.is_alive) == (True, False)
    assert fresh.silent_seconds == pytest.approx(5, abs=3)


def test_the_log_of_jobs_is_listed_in_the_order_of_its_lines(
    database: Database, recorder: Recorder
):
    first, second, other = rows.submit(database, SPEC, SPEC, SPEC)
    for job_id in (second, other, first):
        jobs.hold(database, ids_condition([job_id]))
    jobs.release(database, FakeBroker(), ids_condition([second]))
    rows.claim(recorder, second)

    lines = list_log(database, ids_condition([first, second]))

    assert [(line.job_id, line.attempt, line.text) for line in lines] == [
        (second, 0, "held"),
        (first, 0, "held"),
        (second, 0, "released"),
        (second, 1, "claimed by cpu0-1@here"),
    ]
    assert all(line.at.tzinfo is UTC for line in lines)


def test_the_log_can_be_read_on_from_the_last_line_read(database: Database):
    job_ids = rows.submit(database, *[SPEC] * 4)
    jobs.hold(database, ALL)

    first = list_log(database, ALL, limit=3)
    rest = list_log(database, ALL, after=first[-1].line_id)

    assert [line.job_id for line in [*first, *rest]] == job_ids


def test_progress_counts_states_and_epochs_of_the_selected_jobs(
    database: Database, recorder: Recorder
):
    ended, runs, waits, other = rows.submit(database, SPEC, SPEC, rows.spec(epochs=10), SPEC)
    succeed(recorder, ended)
    start(recorder, runs, epochs=1)
    start(recorder, other, epochs=2)

    progress = measure_progress(database, ids_condition([ended, runs, waits]))

    assert (progress.jobs, progress.open_jobs) == (3, 2)
    assert progress.states[JobState.SUCCEEDED] == 1
    assert progress.states[JobState.FAILED] == 0
    assert (progress.epochs_done, progress.epochs) == (3 + 1, 3 + 3 + 10)
    assert [row.job_id for row in progress.running] == [runs]


def test_progress_of_no_jobs_is_nothing(database: Database):
    progress = measure_progress(database, ids_condition([99]))

    assert (progress.jobs, progress.open_jobs) == (0, 0)
    assert (progress.epochs_done, progress.epochs, progress.running) == (0, 0, ())


def test_jobs_of_one_worker_share_its_time_until_each_has_ended(
    database: Database, recorder: Recorder, other_recorder: Recorder
):
    packed = rows.submit(database, SPEC, rows.spec(epochs=10), rows.spec(epochs=20))
    alone, new = rows.submit(database, rows.spec(epochs=7), rows.spec(epochs=5))
    start(other_recorder, alone, epochs=2)
    for job_id in packed:
        start(recorder, job_id, epochs=2)
    start(recorder, new)
    running = measure_progress(database, ALL).running

    left = measure_left(running)

    share = running[0].epoch_seconds
    assert share is not None
    assert left == pytest.approx(
        {
            packed[0]: 3 * share,
            packed[1]: (1 + 8 + 8) * share,
            packed[2]: (1 + 8 + 18) * share,
            alone: 5 * share,
            new: None,
        }
    )


def test_ids_are_listed_in_their_order(database: Database):
    job_ids = rows.submit(database, SPEC, SPEC, SPEC)

    assert list_ids(database, ALL) == job_ids
    assert list_ids(database, ids_condition([job_ids[2], job_ids[0]])) == job_ids[::2]


def test_the_queue_is_paused_between_pause_and_resume(database: Database):
    before = is_paused(database)
    jobs.pause(database)
    during = is_paused(database)
    jobs.resume(database, FakeBroker())

    assert (before, during, is_paused(database)) == (False, True, False)


# What a job waits for


def test_a_job_waits_for_a_worker_to_be_started(database: Database):
    job_id = rows.submit_one(database)

    reasons = explain_wait(database, job_id)

    assert reasons == [
        "It is the next in the queue.",
        "No worker is running. Type: dq worker",
    ]


def test_a_silent_worker_does_not_count(database: Database):
    job_id = rows.submit_one(database)
    rows.add_worker(database, "silent", silent_seconds=60)

    reasons = explain_wait(database, job_id)

    assert reasons[-1] == "No worker is running. Type: dq worker"


def test_a_job_waits_for_busy_workers(database: Database):
    busy_with, waits = rows.submit(database, SPEC, SPEC)
    rows.add_worker(database, "busy")
    rows.add_worker(database, "idle")
    rows.claim(Recorder(database, "busy", 30), busy_with)

    reasons = explain_wait(database, waits)

    assert reasons == ["It is the next in the queue.", "1 of 2 workers is busy."]


def test_a_job_waits_behind_earlier_jobs_and_those_of_a_higher_priority(database: Database):
    rows.submit(database, SPEC)
    (job_id,) = rows.submit(database, SPEC)
    rows.submit(database, SPEC, SPEC, priority=Priority.HIGH)
    rows.submit(database, SPEC, priority=Priority.LOW)
    rows.submit(database, SPEC)

    reasons = explain_wait(database, job_id)

    assert reasons[0] == "3 queued jobs are ahead of it."


def test_a_held_job_is_not_ahead_of_others(database: Database):
    held, waits = rows.submit(database, SPEC, SPEC)
    jobs.hold(database, ids_condition([held]))

    reasons = explain_wait(database, waits)

    assert reasons[0] == "It is the next in the queue."


def test_a_held_job_waits_to_be_released(database: Database):
    job_id = rows.submit_one(database)
    jobs.hold(database, ids_condition([job_id]))

    reasons = explain_wait(database, job_id)

    assert reasons[0] == f"It is held. Type: dq release {job_id}"


def test_a_job_waits_for_the_queue_to_be_resumed(database: Database):
    job_id = rows.submit_one(database)
    jobs.pause(database)

    reasons = explain_wait(database, job_id)

    assert reasons[0] == "The queue is paused. Type: dq resume"


def test_a_job_waits_after_trouble(database: Database):
    job_id = rows.submit_one(database)
    rows.change(database, job_id, not_before=datetime(2099, 1, 1, 12, 30, tzinfo=UTC))

    reasons = explain_wait(database, job_id)

    assert reasons[0] == f"It is tried again at 12:30:00 UTC. Type: dq logs {job_id}"


@pytest.mark.parametrize("state", ["running", "succeeded", "failed", "cancelled"])
def test_a_job_that_is_not_queued_waits_for_nothing(database: Database, state: str):
    job_id = rows.submit_one(database)
    rows.change(database, job_id, state=state)

    assert explain_wait(database, job_id) == []


def test_a_job_that_does_not_exist_waits_for_nothing(database: Database):
    assert explain_wait(database, 7) == []


def test_rows_are_frozen(database: Database):
    rows.submit_one(database)
    (row,) = list_jobs(database, ALL)

    with pytest.raises(AttributeError):
        row.state = JobState.FAILED
