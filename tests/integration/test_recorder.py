import os
from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from integration import rows
from integration.conftest import LEASE_SECONDS, LostAnswer
from integration.rows import PROVENANCE, SPEC, FakeBroker, LeaseLost
from models import lifecycle
from models.clock import from_now, now
from models.database import Database
from models.errors import DatabaseUnreachable, DatasetCorrupt
from models.message import Priority
from models.provenance import Provenance
from models.spec import TRAINER_VERSION
from models.state import Outcome
from models.tables import Job, Result
from service import jobs
from service.queries.selectors import ids_condition
from worker.execution.claims import Claim
from worker.execution.ending import CANCELLED, LEASE_LOST, RELEASED, Ending, ending_of, fail
from worker.execution.recorder import AttemptStart, AttemptUpdate, Recorder

SPEC_AS_JSON = SPEC.model_dump(mode="json")
ALL_EPOCHS = AttemptUpdate(rows.measured_all())


@pytest.fixture
def job_id(database: Database) -> int:
    return rows.submit_one(database)


@pytest.fixture
def claim(recorder: Recorder, job_id: int) -> Claim:
    return rows.claim(recorder, job_id)


def lose(database: Database, claim: Claim) -> None:
    """Have the job be queued again, as the reconciler does it."""
    with database.writing() as session:
        job = session.get_one(Job, claim.job_id)
        lifecycle.lose(session, job, "it fell silent")


def seconds_of_lease(database: Database, job_id: int) -> float:
    with database.reading() as session:
        job = session.get_one(Job, job_id)
        return (job.lease_until - session.scalar(select(now()))).total_seconds()


# Claims


def test_a_claim_starts_an_attempt_with_a_number_and_a_lease(
    database: Database, recorder: Recorder, job_id: int
):
    claim = rows.claim_next(recorder)

    assert claim == Claim(
        job_id=job_id,
        attempt=1,
        spec=SPEC,
        checkpoint=None,
        stall_seconds=600,
        timeout_seconds=None,
        keep_checkpoint=False,
    )
    job = rows.job(database, job_id)
    (attempt,) = rows.attempts(database, job_id)
    assert (job.state, job.attempt, job.worker) == ("running", 1, "cpu0-1@here")
    assert LEASE_SECONDS - 5 < seconds_of_lease(database, job_id) <= LEASE_SECONDS
    assert (attempt.number, attempt.worker, attempt.pid) == (1, "cpu0-1@here", os.getpid())
    assert (attempt.ended_at, attempt.outcome) == (None, None)
    assert job.started_at


def hold(database: Database, job_id: int) -> None:
    jobs.hold(database, ids_condition([job_id]))


def pause(database: Database, _: int) -> None:
    jobs.pause(database)


def become(state: str) -> Callable[[Database, int], None]:
    def change(database: Database, job_id: int) -> None:
        rows.change(database, job_id, state=state, attempt=1, lease_until=from_now(-100))

    change.__name__ = f"become_{state}"
    return change


STARTED = [become(state) for state in ("running", "succeeded", "failed", "cancelled")]


def back_off(database: Database, job_id: int) -> None:
    rows.change(database, job_id, not_before=from_now(5))


@pytest.mark.parametrize("hinder", [hold, pause, back_off, *STARTED])
def test_a_job_that_may_not_start_is_left_alone(
    database: Database,
    recorder: Recorder,
    job_id: int,
    hinder: Callable[[Database, int], None],
):
    hinder(database, job_id)
    before = rows.everything(database)

    assert rows.claim_next(recorder) is None
    assert rows.everything(database) == before


def test_a_worker_that_is_draining_claims_nothing(
    database: Database, recorder: Recorder, other_recorder: Recorder, job_id: int
):
    rows.add_worker(database, recorder.worker, state="draining")

    assert rows.claim_next(recorder) is None
    claim = rows.claim_next(other_recorder)
    assert claim
    assert claim.job_id == job_id


def test_jobs_are_claimed_by_priority_and_then_in_the_order_of_their_submit(
    database: Database, recorder: Recorder
):
    order = [Priority.LOW, Priority.HIGH, Priority.NORMAL] * 2
    submitted = [(priority, rows.submit_one(database, priority=priority)) for priority in order]
    held, waiting = rows.submit(database, SPEC, SPEC, priority=Priority.HIGH)
    hold(database, held)
    back_off(database, waiting)

    claimed = [claim.job_id for _ in order if (claim := rows.claim_next(recorder))]

    assert claimed == [job_id for _, job_id in sorted(submitted)]
    assert rows.claim_next(recorder) is None


def test_a_spec_comes_back_from_its_row_as_it_was(database: Database, recorder: Recorder):
    spec = rows.spec(keep=(1 / 3,), lr=1e-7, train_size=999, seed=2**63 - 1)
    (job_id,) = rows.submit(database, spec)

    claim = rows.claim(recorder, job_id)

    assert claim.spec == spec


def test_each_attempt_has_a_number_of_its_own(
    database: Database, recorder: Recorder, other_recorder: Recorder, job_id: int
):
    first = rows.claim(recorder, job_id)
    rows.release(recorder, first)
    second = rows.claim(other_recorder, job_id)
    rows.fail(other_recorder, second, "no more")
    jobs.retry(database, FakeBroker(), ids_condition([job_id]), from_scratch=True)
    third = rows.claim(recorder, job_id)

    assert [first.attempt, second.attempt, third.attempt] == [1, 2, 3]
    assert [(each.number, each.worker) for each in rows.attempts(database, job_id)] == [
        (1, "cpu0-1@here"),
        (2, "cpu1-1@here"),
        (3, "cpu0-1@here"),
    ]


def test_a_job_has_started_when_its_first_attempt_did(
    database: Database, recorder: Recorder, claim: Claim
):
    started_at = rows.job(database, claim.job_id).started_at
    rows.release(recorder, claim)

    rows.claim(recorder, claim.job_id)

    assert rows.job(database, claim.job_id).started_at == started_at


def test_a_claim_carries_the_checkpoint_to_go_on_from(
    database: Database, recorder: Recorder, claim: Claim
):
    rows.record(recorder, claim, AttemptUpdate((rows.measured(1),), f"{claim.job_id}/1-1-0", 1))
    rows.release(recorder, claim)

    second = rows.claim(recorder, claim.job_id)

    assert second.checkpoint == f"{claim.job_id}/1-1-0"


# Writes of an attempt that holds its lease


def test_an_attempt_records_what_it_runs_on_and_where_it_begins(
    database: Database, recorder: Recorder, claim: Claim
):
    rows.begin(recorder, claim, PROVENANCE, epochs_done=0)

    (attempt,) = rows.attempts(database, claim.job_id)
    assert Provenance(**attempt.provenance) == PROVENANCE
    assert attempt.resumed_epoch == 0


def test_an_attempt_that_goes_on_forgets_the_epochs_it_will_measure_again(
    database: Database, recorder: Recorder, claim: Claim
):
    rows.record(recorder, claim, AttemptUpdate(rows.measured_all(), f"{claim.job_id}/1-1-0", 1))
    rows.release(recorder, claim)
    second = rows.claim(recorder, claim.job_id)

    rows.begin(recorder, second, PROVENANCE, epochs_done=1)

    assert [row.epoch for row in rows.epochs(database, claim.job_id)] == [1]
    assert rows.job(database, claim.job_id).epochs_done == 1
    assert rows.log(database, claim.job_id)[-1] == "resumed from epoch 1"


def test_an_attempt_that_found_no_usable_checkpoint_says_so_and_forgets_all_epochs(
    database: Database, recorder: Recorder, claim: Claim
):
    rows.record(recorder, claim, AttemptUpdate(rows.measured_all(), f"{claim.job_id}/1-3-0", 3))
    rows.release(recorder, claim)
    second = rows.claim(recorder, claim.job_id)

    rows.begin(recorder, second, PROVENANCE, epochs_done=0)

    assert rows.epochs(database, claim.job_id) == []
    assert rows.job(database, claim.job_id).epochs_done == 0
    assert "no usable checkpoint" in rows.log(database, claim.job_id)[-1]


def test_a_beat_writes_progress_and_renews_the_lease(
    database: Database, recorder: Recorder, claim: Claim
):
    rows.change(database, claim.job_id, lease_until=from_now(1))

    rows.record(
        recorder,
        claim,
        AttemptUpdate((rows.measured(1), rows.measured(2)), f"{claim.job_id}/1-2-0", 2),
    )

    job = rows.job(database, claim.job_id)
    first, second = rows.epochs(database, claim.job_id)
    assert seconds_of_lease(database, claim.job_id) > LEASE_SECONDS - 5
    assert (job.epochs_done, job.checkpoint, job.checkpoint_epoch) == (
        2,
        f"{claim.job_id}/1-2-0",
        2,
    )
    assert (first.train_loss, first.valid_loss, first.attempt) == (1.0, 2.0, 1)
    assert (second.epoch, second.train_loss, second.valid_loss) == (2, 0.5, 1.0)


def test_progress_written_twice_is_there_once(database: Database, recorder: Recorder, claim: Claim):
    progress = AttemptUpdate((rows.measured(1),), f"{claim.job_id}/1-1-0", 1)
    rows.record(recorder, claim, progress)
    before = [(row.epoch, row.train_loss) for row in rows.epochs(database, claim.job_id)]

    rows.record(recorder, claim, progress)

    assert [(row.epoch, row.train_loss) for row in rows.epochs(database, claim.job_id)] == before


def test_a_beat_without_progress_leaves_the_checkpoint_where_it_is(
    database: Database, recorder: Recorder, claim: Claim
):
    rows.record(recorder, claim, AttemptUpdate((rows.measured(1),), f"{claim.job_id}/1-1-0", 1))

    rows.record(recorder, claim, AttemptUpdate())

    job = rows.job(database, claim.job_id)
    assert (job.epochs_done, job.checkpoint) == (1, f"{claim.job_id}/1-1-0")


def test_a_lease_that_ran_out_may_be_renewed_as_long_as_nobody_took_the_job(
    database: Database, recorder: Recorder, claim: Claim
):
    rows.expire(database, claim.job_id)

    rows.record(recorder, claim, AttemptUpdate())
    rows.succeed(recorder, claim, ALL_EPOCHS)

    assert rows.job(database, claim.job_id).state == "succeeded"


def test_asking_whether_a_job_is_cancelled_writes_nothing(
    database: Database, recorder: Recorder, claim: Claim
):
    before = rows.everything(database)

    is_cancelled = rows.is_cancelled(recorder, claim)

    assert is_cancelled is False
    assert rows.everything(database) == before


# Ends


def test_a_success_is_the_last_epochs_figures_and_the_state_together(
    database: Database, recorder: Recorder, claim: Claim
):
    rows.succeed(recorder, claim, ALL_EPOCHS)

    job, result = rows.job(database, claim.job_id), rows.result(database, claim.job_id)
    last = rows.epochs(database, claim.job_id)[-1]
    (attempt,) = rows.attempts(database, claim.job_id)
    assert (job.state, job.reason, job.lease_until, job.epochs_done) == (
        "succeeded",
        None,
        None,
        3,
    )
    assert job.finished_at
    assert result
    for figure in ("train_loss", "train_accuracy", "valid_loss", "valid_accuracy"):
        assert getattr(result, figure) == getattr(last, figure)
    assert (result.attempt, result.trainer_version) == (1, TRAINER_VERSION)
    assert result.seconds == pytest.approx(3 * 0.25)
    assert (attempt.outcome, bool(attempt.ended_at)) == (Outcome.SUCCEEDED, True)


def test_a_success_takes_up_the_epochs_that_earlier_attempts_wrote(
    database: Database, recorder: Recorder, other_recorder: Recorder, claim: Claim
):
    rows.record(recorder, claim, AttemptUpdate((rows.measured(1),), f"{claim.job_id}/1-1-0", 1))
    rows.release(recorder, claim)
    second = rows.claim(other_recorder, claim.job_id)
    rows.begin(other_recorder, second, PROVENANCE, epochs_done=1)

    rows.succeed(other_recorder, second, AttemptUpdate((rows.measured(2), rows.measured(3))))

    result = rows.result(database, claim.job_id)
    assert [row.attempt for row in rows.epochs(database, claim.job_id)] == [1, 2, 2]
    assert result
    assert (result.attempt, result.seconds) == (2, pytest.approx(0.75))


def test_a_success_without_its_last_epoch_is_none(
    database: Database, recorder: Recorder, claim: Claim
):
    before = rows.everything(database)

    with pytest.raises(Exception, match="are not measured"):
        rows.succeed(recorder, claim, AttemptUpdate((rows.measured(1), rows.measured(2))))

    assert rows.everything(database) == before


def test_a_success_drops_the_pointer_to_the_checkpoint(
    database: Database, recorder: Recorder, claim: Claim
):
    rows.succeed(recorder, claim, AttemptUpdate(rows.measured_all(), f"{claim.job_id}/1-2-0", 2))

    assert rows.job(database, claim.job_id).checkpoint is None


def test_a_success_keeps_the_checkpoint_it_was_asked_to_keep(
    database: Database, recorder: Recorder
):
    job_id = rows.submit_one(database, keep_checkpoint=True)
    claim = rows.claim(recorder, job_id)

    rows.succeed(recorder, claim, AttemptUpdate(rows.measured_all(), f"{job_id}/1-3-0", 3))

    assert rows.job(database, job_id).checkpoint == f"{job_id}/1-3-0"


def test_a_success_whose_answer_was_lost_is_recorded_once(
    database: Database, recorder: Recorder, claim: Claim, losing_an_answer: LostAnswer
):
    with losing_an_answer():
        rows.succeed(recorder, claim, ALL_EPOCHS)

    result = rows.result(database, claim.job_id)
    assert rows.job(database, claim.job_id).state == "succeeded"
    assert result
    assert result.valid_accuracy == rows.measured(3).valid_accuracy
    assert rows.log(database, claim.job_id).count("succeeded") == 1


def test_a_success_recorded_twice_is_one(database: Database, recorder: Recorder, claim: Claim):
    rows.succeed(recorder, claim, ALL_EPOCHS)
    before = rows.everything(database)

    rows.succeed(recorder, claim, ALL_EPOCHS)

    assert rows.everything(database) == before


def test_an_update_whose_answer_was_lost_is_repeated_without_harm(
    database: Database, recorder: Recorder, claim: Claim, losing_an_answer: LostAnswer
):
    update = AttemptUpdate(rows.measured_all(), start=AttemptStart(PROVENANCE, 0))
    with losing_an_answer(), pytest.raises(DatabaseUnreachable):
        rows.record(recorder, claim, update)

    rows.record(recorder, claim, update)

    (attempt,) = rows.attempts(database, claim.job_id)
    assert Provenance(**attempt.provenance) == PROVENANCE
    assert [row.epoch for row in rows.epochs(database, claim.job_id)] == [1, 2, 3]


def test_a_job_has_one_result_whatever_writes_it(
    database: Database, recorder: Recorder, claim: Claim
):
    rows.succeed(recorder, claim, ALL_EPOCHS)
    result = {"job_id": claim.job_id, "attempt": 9, "trainer_version": 1, "seconds": 0.0}
    figures = dict.fromkeys(["train_loss", "train_accuracy", "valid_loss", "valid_accuracy"], 0.0)

    def write_another() -> None:
        with database.writing() as session:
            session.execute(insert(Result).values(**result, **figures))

    with pytest.raises(IntegrityError):
        write_another()


def test_a_failure_is_recorded_with_its_reason_and_its_traceback(
    database: Database, recorder: Recorder, claim: Claim
):
    rows.fail(recorder, claim, "ValueError: no", "Traceback ...")

    job = rows.job(database, claim.job_id)
    (attempt,) = rows.attempts(database, claim.job_id)
    assert (job.state, job.reason, job.lease_until) == ("failed", "ValueError: no", None)
    assert (attempt.outcome, attempt.detail) == (Outcome.FAILED, "Traceback ...")
    assert rows.log(database, claim.job_id)[-1] == "failed: ValueError: no"
    assert rows.result(database, claim.job_id) is None


def test_a_cancellation_is_recorded(database: Database, recorder: Recorder, claim: Claim):
    jobs.cancel(database, ids_condition([claim.job_id]))

    rows.cancel(recorder, claim)

    job = rows.job(database, claim.job_id)
    (attempt,) = rows.attempts(database, claim.job_id)
    assert (job.state, job.reason) == ("cancelled", "cancelled while running")
    assert job.cancel_requested is False
    assert attempt.outcome == Outcome.CANCELLED


def test_a_job_given_back_waits_with_what_it_reached_and_without_a_crash(
    database: Database, recorder: Recorder, claim: Claim
):
    rows.record(recorder, claim, AttemptUpdate((rows.measured(1),), f"{claim.job_id}/1-1-0", 1))

    rows.release(recorder, claim)

    job = rows.job(database, claim.job_id)
    (attempt,) = rows.attempts(database, claim.job_id)
    assert (job.state, job.worker, job.lease_until, job.crashes) == ("queued", None, None, 0)
    assert (job.checkpoint, job.epochs_done) == (f"{claim.job_id}/1-1-0", 1)
    assert (attempt.outcome, bool(attempt.ended_at)) == (Outcome.RELEASED, True)


# Writes of an attempt that lost its lease

WRITES: dict[str, Callable[[Recorder, Claim], object]] = {
    "begin": lambda recorder, claim: rows.begin(recorder, claim, PROVENANCE, 0),
    "is_cancelled": rows.is_cancelled,
    "beat": lambda recorder, claim: rows.record(recorder, claim, ALL_EPOCHS),
    "succeed": lambda recorder, claim: rows.succeed(recorder, claim, ALL_EPOCHS),
    "fail": lambda recorder, claim: rows.fail(recorder, claim, "no"),
    "cancel": rows.cancel,
    "release": rows.release,
}
every_write = pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)


@every_write
def test_an_attempt_whose_job_another_took_writes_nothing(
    database: Database,
    recorder: Recorder,
    other_recorder: Recorder,
    claim: Claim,
    write: Callable[[Recorder, Claim], object],
):
    lose(database, claim)
    rows.claim(other_recorder, claim.job_id)
    before = rows.everything(database)

    with pytest.raises(LeaseLost):
        write(recorder, claim)

    assert rows.everything(database) == before


@every_write
def test_an_attempt_whose_job_waits_again_writes_nothing(
    database: Database,
    recorder: Recorder,
    claim: Claim,
    write: Callable[[Recorder, Claim], object],
):
    lose(database, claim)
    before = rows.everything(database)

    with pytest.raises(LeaseLost):
        write(recorder, claim)

    assert rows.everything(database) == before


@every_write
def test_an_attempt_whose_job_another_finished_writes_nothing(
    database: Database,
    recorder: Recorder,
    other_recorder: Recorder,
    claim: Claim,
    write: Callable[[Recorder, Claim], object],
):
    lose(database, claim)
    second = rows.claim(other_recorder, claim.job_id)
    rows.succeed(other_recorder, second, ALL_EPOCHS)
    before = rows.everything(database)

    with pytest.raises(LeaseLost):
        write(recorder, claim)

    assert rows.everything(database) == before


# Endings


def of(error: Exception) -> Ending:
    return ending_of(error, is_alone=True)


@pytest.mark.parametrize(
    ("ending", "state", "reason"),
    [
        (CANCELLED, "cancelled", "cancelled while running"),
        (RELEASED, "queued", None),
        (fail("diverged at epoch 2"), "failed", "diverged at epoch 2"),
        (of(DatasetCorrupt("a file is damaged")), "failed", "a file is damaged"),
        (of(KeyError("x")), "failed", "KeyError: 'x'"),
        (of(MemoryError()), "failed", "MemoryError: "),
    ],
)
def test_a_job_moves_on_as_its_attempt_ended(
    *,
    database: Database,
    recorder: Recorder,
    claim: Claim,
    ending: Ending,
    state: str,
    reason: str | None,
):
    assert recorder.end(claim, ending)

    job = rows.job(database, claim.job_id)
    assert (job.state, job.reason) == (state, reason)


def test_an_ending_is_recorded_with_what_was_not_written_before(
    database: Database, recorder: Recorder, claim: Claim
):
    recorder.end(claim, RELEASED, AttemptUpdate(rows.measured_all(), "1/1-3-0", 3))

    job = rows.job(database, claim.job_id)
    assert (job.state, job.epochs_done, job.checkpoint) == ("queued", 3, "1/1-3-0")
    assert len(rows.epochs(database, claim.job_id)) == 3


def test_an_update_that_the_database_refuses_does_not_keep_the_ending_from_being_recorded(
    database: Database, recorder: Recorder, claim: Claim
):
    """It is the database's fault: the job goes back to the queue for later."""
    broken = replace(rows.measured(1), train_loss=None)

    recorder.end(claim, fail("no more"), AttemptUpdate((broken,)))

    job, (attempt,) = rows.job(database, claim.job_id), rows.attempts(database, claim.job_id)
    assert (job.state, attempt.outcome) == ("queued", Outcome.RELEASED)
    assert attempt.detail.startswith("the database failed: ")
    with database.reading() as session:
        assert job.not_before > session.scalar(select(from_now(20)))


@pytest.mark.parametrize(
    ("ending", "state"),
    [(CANCELLED, "cancelled"), (RELEASED, "queued"), (fail("no more"), "failed")],
)
def test_an_ending_whose_answer_was_lost_is_recorded_once(
    *,
    database: Database,
    recorder: Recorder,
    claim: Claim,
    losing_an_answer: LostAnswer,
    ending: Ending,
    state: str,
):
    with losing_an_answer():
        recorder.end(claim, ending)

    claimed_and_ended = rows.log(database, claim.job_id)
    assert rows.job(database, claim.job_id).state == state
    assert len(claimed_and_ended) == 2


def test_an_error_leaves_its_traceback_on_the_attempt(
    database: Database, recorder: Recorder, claim: Claim
):
    def break_down() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken") as raised:
        break_down()
    recorder.end(claim, of(raised.value))

    (attempt,) = rows.attempts(database, claim.job_id)
    assert "in break_down" in attempt.detail
    assert attempt.detail.endswith("ValueError: broken\n")


@pytest.mark.parametrize("words", ["a zero \x00 byte", "half \udc80 a letter"])
def test_an_error_whose_message_the_database_cannot_hold_still_fails_the_job(
    database: Database, recorder: Recorder, claim: Claim, words: str
):
    recorder.end(claim, of(ValueError(words)))

    job = rows.job(database, claim.job_id)
    assert job.state == "failed"
    assert job.reason.startswith("ValueError: ")


@pytest.mark.parametrize("ending", [LEASE_LOST, CANCELLED, RELEASED, fail("no more")])
def test_of_an_attempt_that_lost_its_lease_no_ending_is_recorded(
    database: Database,
    recorder: Recorder,
    claim: Claim,
    ending: Ending,
    caplog: pytest.LogCaptureFixture,
):
    lose(database, claim)
    before = rows.everything(database)

    assert not recorder.end(claim, ending)

    assert rows.everything(database) == before
    assert f"job {claim.job_id} attempt 1: fenced off" in caplog.text
