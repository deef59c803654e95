"""Jobs of one shape that a worker takes and trains together: each is recorded as if alone."""

import itertools
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.orm import Session

from integration import rows
from integration.conftest import LostAnswer
from integration.process import StopBefore, make_process, run
from integration.race import race
from models import lifecycle
from models.database import Database
from models.provenance import Provenance
from models.state import Outcome
from models.tables import Job
from servers import Outage, wait_until
from service import jobs
from service.queries.selectors import ids_condition
from worker.execution.claims import Claim
from worker.execution.context import WorkerContext
from worker.execution.heartbeat import Heartbeat
from worker.execution.recorder import AttemptStart, AttemptUpdate, Recorder
from worker.queue import app
from worker.supervisor.registry import WorkerRegistry

pytestmark = pytest.mark.usefixtures("one_thread")
#: A shape that a CPU packs; 12 batches an epoch, 3 epochs.
PACKED = {"hidden": (16, 16)}
BATCHES = 12


def spec(seed: int, **changes: Any) -> Any:
    return rows.spec(**{**PACKED, "keep": (0.9, 0.8), "seed": seed, **changes})


def submit(database: Database, count: int, **order: Any) -> list[int]:
    return rows.submit(database, *[spec(seed) for seed in range(count)], **order)


@pytest.fixture
def commits() -> Iterator[list[Session]]:
    """All sessions that committed, as they do."""
    commits: list[Session] = []
    note = commits.append
    event.listen(Session, "after_commit", note)
    yield commits
    event.remove(Session, "after_commit", note)


def ids(claims: list[Claim]) -> list[int]:
    return [each.job_id for each in claims]


@pytest.fixture
def process(recorder: Recorder, tmp_path: Path) -> WorkerContext:
    return make_process(recorder, tmp_path, pack="auto")


def train_each_alone(process: WorkerContext, count: int) -> list[list[tuple[float, ...]]]:
    database = process.recorder.database
    job_ids = submit(database, count)
    for job_id in job_ids:
        run(replace(process, pack="off"), job_id)
    return [rows.figures(database, job_id) for job_id in job_ids]


# Claims


def test_a_claim_takes_along_queued_jobs_of_the_same_shape_oldest_first(
    database: Database, recorder: Recorder
):
    job_ids = submit(database, 5)
    wider, later = rows.submit(database, spec(0, hidden=(32, 16)), spec(7, lr=0.2))

    claims = rows.claim_pack(recorder, job_ids[2], lambda _: 5)

    assert ids(claims) == [job_ids[2], *job_ids[:2], *job_ids[3:]]
    assert [each.spec.seed for each in claims] == [2, 0, 1, 3, 4]
    assert rows.states(database, [wider, later]) == ["queued", "queued"]
    for job_id in job_ids:
        job, (attempt,) = rows.job(database, job_id), rows.attempts(database, job_id)
        assert (job.state, job.attempt, job.worker) == ("running", 1, recorder.worker)
        assert job.lease_until
        assert attempt.worker == recorder.worker
        assert rows.log(database, job_id) == [
            f"claimed by {recorder.worker} with 4 others of its shape"
        ]


def test_a_claim_takes_no_job_along_that_may_not_start(database: Database, recorder: Recorder):
    first, held, running, cancelled, urgent, suspect = submit(database, 6)
    jobs.hold(database, ids_condition([held]))
    jobs.cancel(database, ids_condition([cancelled]))
    rows.change(database, urgent, priority=0)
    rows.change(database, suspect, suspect=True)
    rows.claim_pack(Recorder(database, "another@here", 30), running, lambda _: 1)

    claims = rows.claim_pack(recorder, first)

    assert ids(claims) == [first]
    assert not rows.job(database, first).packed


def test_nothing_is_claimed_while_the_queue_is_paused(database: Database, recorder: Recorder):
    job_ids = submit(database, 3)
    jobs.pause(database)

    assert rows.claim_next(recorder) is None
    assert rows.states(database, job_ids) == ["queued"] * 3


def test_a_worker_takes_no_more_than_its_share_of_a_short_queue(
    database: Database, recorder: Recorder, other_recorder: Recorder
):
    for name, silence in ((recorder.worker, 0), (other_recorder.worker, 0), ("dead@here", 999)):
        rows.add_worker(database, name, silent_seconds=silence)
    rows.add_worker(database, "leaving@here", state="draining")
    job_ids = submit(database, 7)

    first = rows.claim_pack(recorder, job_ids[0])
    second = rows.claim_pack(other_recorder, job_ids[-1])

    assert len(first) == 4  # of 7 for 2 workers
    assert len(second) == 2  # of the 3 that are left


def test_a_suspect_runs_alone(database: Database, recorder: Recorder):
    first, *_ = submit(database, 3)
    rows.change(database, first, suspect=True)

    assert ids(rows.claim_pack(recorder, first)) == [first]


CLAIM_PACKS = """
from models.database import Database
from worker.execution.recorder import Recorder

url, worker = sys.argv[1:]
recorder = Recorder(Database(url), worker, lease_seconds=60)
recorder.database.revision()
at_once()
taken = []
while claims := recorder.claim_next(lambda _: 4):
    taken += claims
print(json.dumps([claim.job_id for claim in taken]))
"""


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
def test_of_processes_that_take_packs_each_job_goes_to_one(database: Database):
    job_ids = submit(database, 60)
    url = database.url.render_as_string(hide_password=False)

    taken = race(CLAIM_PACKS, *[[url, f"worker {n}"] for n in range(3)])

    assert Counter(job_id for each in taken for job_id in each) == Counter(job_ids)
    for number, each in enumerate(taken):
        for job_id in each:
            assert rows.job(database, job_id).worker == f"worker {number}"
            assert len(rows.attempts(database, job_id)) == 1


# Training


def test_each_job_of_a_pack_gets_the_result_it_gets_alone(
    database: Database, process: WorkerContext
):
    expected = train_each_alone(process, 5)
    job_ids = submit(database, 5)

    run(process, job_ids[0])

    assert rows.states(database, job_ids) == ["succeeded"] * 5
    assert [rows.figures(database, job_id) for job_id in job_ids] == expected
    for job_id in job_ids:
        (attempt,) = rows.attempts(database, job_id)
        assert attempt.outcome == Outcome.SUCCEEDED
        assert attempt.provenance
        result = rows.result(database, job_id)
        assert result
        assert result.valid_loss == rows.epochs(database, job_id)[-1].valid_loss
        assert rows.log(database, job_id)[-1] == "succeeded"


@pytest.mark.parametrize("batch", [0, 5, BATCHES, 2 * BATCHES + 5])
def test_a_pack_that_is_given_back_goes_on_alone_to_the_same_figures(
    database: Database, process: WorkerContext, batch: int
):
    expected = train_each_alone(process, 3)
    job_ids = submit(database, 3)

    run(replace(process, stopping=StopBefore(batch)), job_ids[0])
    given_back = [rows.job(database, job_id) for job_id in job_ids]
    for job_id in job_ids:
        run(replace(process, pack="off"), job_id)

    assert [(job.state, job.crashes, job.suspect) for job in given_back] == [
        ("queued", 0, False)
    ] * 3
    assert len({job.checkpoint for job in given_back} - {None}) == (3 if batch else 0)
    assert [rows.figures(database, job_id) for job_id in job_ids] == expected
    for job_id in job_ids:
        outcomes = [attempt.outcome for attempt in rows.attempts(database, job_id)]
        assert outcomes == [Outcome.RELEASED, Outcome.SUCCEEDED]


def test_jobs_given_back_at_different_batches_go_on_together(
    database: Database, process: WorkerContext
):
    expected = train_each_alone(process, 4)
    job_ids = submit(database, 4)
    for job_id, batch in zip(job_ids, (0, 5, BATCHES + 5, BATCHES), strict=True):
        run(replace(process, pack="off", stopping=StopBefore(batch)), job_id)

    run(process, job_ids[0])

    assert [rows.figures(database, job_id) for job_id in job_ids] == expected
    assert [len(rows.attempts(database, job_id)) for job_id in job_ids] == [2] * 4


def test_a_job_of_a_pack_that_is_cancelled_leaves_and_the_others_go_on(
    database: Database, process: WorkerContext
):
    expected = train_each_alone(process, 3)
    job_ids = submit(database, 3)

    class Cancelling(threading.Event):
        """A stop flag that has a job cancelled at a batch, and lets the heartbeat see it."""

        looks = itertools.count()

        def is_set(self) -> bool:
            if next(self.looks) == BATCHES + 3:
                jobs.cancel(database, ids_condition([job_ids[1]]))
                threading.Event().wait(1.5)
            return False

    run(replace(process, stopping=Cancelling()), job_ids[0])

    assert rows.states(database, job_ids) == ["succeeded", "cancelled", "succeeded"]
    assert rows.figures(database, job_ids[0]) == expected[0]
    assert rows.figures(database, job_ids[1]) == expected[1][:1]
    assert rows.figures(database, job_ids[2]) == expected[2]


def test_a_job_of_a_pack_that_diverges_fails_and_the_others_go_on(
    database: Database, process: WorkerContext
):
    good, bad, fine = rows.submit(database, spec(0), spec(1, lr=1e12), spec(2))

    run(process, good)

    assert rows.states(database, [good, bad, fine]) == ["succeeded", "failed", "succeeded"]
    assert rows.job(database, bad).reason == "diverged at epoch 1"


def test_a_job_of_a_pack_that_lost_its_lease_leaves_and_writes_nothing_more(
    database: Database, process: WorkerContext, caplog: pytest.LogCaptureFixture
):
    job_ids = submit(database, 3)

    class Losing(threading.Event):
        looks = itertools.count()

        def is_set(self) -> bool:
            if next(self.looks) == BATCHES + 3:
                rows.change(database, job_ids[1], attempt=7)
                threading.Event().wait(1.5)
            return False

    run(replace(process, stopping=Losing()), job_ids[0])

    assert rows.states(database, job_ids) == ["succeeded", "running", "succeeded"]
    assert f"job {job_ids[1]} attempt 1: fenced off" in caplog.text


def test_an_error_that_hits_a_pack_is_none_of_its_jobs_until_one_has_it_alone(
    database: Database, process: WorkerContext, monkeypatch: pytest.MonkeyPatch
):
    job_ids = submit(database, 3)

    def break_down(*_: object) -> None:
        raise MemoryError("no more")

    with monkeypatch.context() as broken:
        broken.setattr("worker.training.engine.batched_runs.BatchedRuns.step", break_down)
        run(process, job_ids[0])
    together = [rows.job(database, job_id) for job_id in job_ids]
    run(process, job_ids[0])

    assert [(job.state, job.suspect, job.crashes) for job in together] == [("queued", True, 0)] * 3
    assert rows.states(database, job_ids) == ["succeeded", "queued", "queued"]


# What is recorded together

START = AttemptStart(rows.PROVENANCE, 0)


def succeed(recorder: Recorder, claims: list[Claim]) -> set[Claim]:
    return recorder.succeed({each: AttemptUpdate(rows.measured_all()) for each in claims})


def test_a_pack_is_claimed_and_ended_in_one_transaction_each_with_where_it_began(
    database: Database, recorder: Recorder, commits: list[Session]
):
    job_ids = submit(database, 5)
    commits.clear()

    claims = rows.claim_pack(recorder, job_ids[0])
    recorder.succeed({each: AttemptUpdate(rows.measured_all(), start=START) for each in claims})

    assert len(commits) == 2
    assert rows.states(database, job_ids) == ["succeeded"] * 5
    begun = [rows.attempts(database, job_id)[0] for job_id in job_ids]
    assert [each.resumed_epoch for each in begun] == [0] * 5
    assert all(Provenance(**each.provenance or {}) == rows.PROVENANCE for each in begun)


def test_a_success_that_tells_where_it_began_forgets_what_it_measured_again(
    database: Database, recorder: Recorder
):
    job_ids = submit(database, 2)
    worse = tuple(replace(each, valid_loss=9.0) for each in rows.measured_all())
    for each in rows.claim_pack(recorder, job_ids[0]):
        rows.record(recorder, each, AttemptUpdate(worse[:2]))
        rows.release(recorder, each)
    claims = rows.claim_pack(recorder, job_ids[0])

    recorder.succeed({each: AttemptUpdate(rows.measured_all(), start=START) for each in claims})

    for job_id in job_ids:
        measured = [(each.attempt, each.valid_loss) for each in rows.epochs(database, job_id)]
        assert measured == [(2, each.valid_loss) for each in rows.measured_all()]


def test_of_jobs_that_succeed_together_one_that_lost_its_lease_is_left_out(
    database: Database, recorder: Recorder, other_recorder: Recorder
):
    job_ids = submit(database, 3)
    claims = rows.claim_pack(recorder, job_ids[0])
    with database.writing() as session:
        lifecycle.lose(session, session.get_one(Job, job_ids[1]), "it fell silent")
    rows.claim_pack(other_recorder, job_ids[1])

    lost = succeed(recorder, claims)

    assert lost == {claims[1]}
    assert rows.states(database, job_ids) == ["succeeded", "running", "succeeded"]
    assert rows.epochs(database, job_ids[1]) == []
    assert [bool(rows.result(database, job_id)) for job_id in job_ids] == [True, False, True]
    outcomes = [[each.outcome for each in rows.attempts(database, job_id)] for job_id in job_ids]
    assert outcomes == [[Outcome.SUCCEEDED], [Outcome.LOST, None], [Outcome.SUCCEEDED]]


def test_of_jobs_that_begin_together_one_that_lost_its_lease_is_left_out(
    database: Database, recorder: Recorder
):
    job_ids = submit(database, 3)
    claims = rows.claim_pack(recorder, job_ids[0])
    rows.change(database, job_ids[2], attempt=7)

    lost = recorder.renew({each: AttemptUpdate(start=START) for each in claims})

    assert lost == {claims[2]}
    begun = [bool(rows.attempts(database, job_id)[0].provenance) for job_id in job_ids]
    assert begun == [True, True, False]


def test_each_of_a_pack_begins_where_its_own_checkpoint_is(database: Database, recorder: Recorder):
    job_ids = submit(database, 3)
    for done, each in enumerate(rows.claim_pack(recorder, job_ids[0])):
        rows.record(
            recorder, each, AttemptUpdate(rows.measured_all(), f"{each.job_id}/1-{done}-0", done)
        )
        rows.release(recorder, each)
    claims = rows.claim_pack(recorder, job_ids[0])

    origins = [AttemptStart(rows.PROVENANCE, done) for done in range(len(claims))]
    recorder.renew({each: AttemptUpdate(start=origins[done]) for done, each in enumerate(claims)})

    assert [len(rows.epochs(database, job_id)) for job_id in job_ids] == [0, 1, 2]
    assert [rows.job(database, job_id).epochs_done for job_id in job_ids] == [0, 1, 2]
    assert [rows.log(database, job_id)[-1] for job_id in job_ids] == [
        "resumed from scratch: no usable checkpoint",
        "resumed from epoch 1",
        "resumed from epoch 2",
    ]
    resumed = [rows.attempts(database, job_id)[-1].resumed_epoch for job_id in job_ids]
    assert resumed == [0, 1, 2]


def test_results_of_a_pack_whose_answer_was_lost_are_recorded_once(
    database: Database, recorder: Recorder, losing_an_answer: LostAnswer
):
    job_ids = submit(database, 3)
    claims = rows.claim_pack(recorder, job_ids[0])
    rows.change(database, job_ids[1], attempt=7)

    with losing_an_answer():
        lost = succeed(recorder, claims)

    assert lost == {claims[1]}
    for job_id in (job_ids[0], job_ids[2]):
        assert rows.log(database, job_id).count("succeeded") == 1
        assert rows.result(database, job_id)


def test_of_jobs_that_succeed_together_each_has_the_figures_of_its_own_last_epoch(
    database: Database, recorder: Recorder
):
    job_ids = submit(database, 2)
    first, second = rows.claim_pack(recorder, job_ids[0])
    worse = tuple(replace(each, valid_loss=9.0, seconds=2.0) for each in rows.measured_all())

    recorder.succeed({first: AttemptUpdate(rows.measured_all()), second: AttemptUpdate(worse)})

    results = [rows.result(database, job_id) for job_id in job_ids]
    assert [each and each.valid_loss for each in results] == [rows.measured(3).valid_loss, 9.0]
    assert [each and each.seconds for each in results] == pytest.approx([0.75, 6.0])


def test_an_error_while_results_are_recorded_sends_each_of_them_back_to_run_alone(
    database: Database, process: WorkerContext, monkeypatch: pytest.MonkeyPatch
):
    job_ids = submit(database, 3)

    def break_down(*_: object) -> None:
        raise ValueError("no more")

    with monkeypatch.context() as broken:
        broken.setattr("worker.execution.recorder._add_results", break_down)
        run(process, job_ids[0])

    left = [rows.job(database, job_id) for job_id in job_ids]
    assert [(job.state, job.suspect) for job in left] == [("queued", True)] * 3
    assert [rows.result(database, job_id) for job_id in job_ids] == [None] * 3


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
def test_an_outage_is_one_line_for_all_of_a_pack(
    database: Database, recorder: Recorder, outage: Outage, caplog: pytest.LogCaptureFixture
):
    claims = rows.claim_pack(recorder, submit(database, 3)[0])

    with outage(database), Heartbeat(recorder, claims, threading.Event()):
        wait_until(lambda: "training goes on" in caplog.text, "a beat is missed")

    lines = [line for line in caplog.messages if "training goes on" in line]
    assert lines[0].startswith(f"{claims[0]} and those with it: training goes on")
    assert not any(str(each) in line for line in lines for each in claims[1:])


# Crashes


def test_of_jobs_whose_process_died_none_counts_a_crash_and_each_is_lost_at_once(
    database: Database, recorder: Recorder
):
    job_ids = submit(database, 3, max_crashes=1)
    (alone,) = rows.submit(database, rows.spec(hidden=(20,)))
    rows.claim_pack(recorder, job_ids[0])
    rows.claim_pack(Recorder(database, "another@here", 30), alone)
    rows.change(database, job_ids[0], state="cancelled")

    app._lose(database, recorder.worker, "signal 9")

    left = [rows.job(database, job_id) for job_id in job_ids[1:]]
    assert [(job.state, job.suspect, job.crashes) for job in left] == [("queued", True, 0)] * 2
    assert rows.job(database, alone).state == "running"


def test_a_job_that_crashes_alone_after_it_crashed_with_others_counts_a_crash(
    database: Database, recorder: Recorder
):
    job_ids = submit(database, 2, max_crashes=1)
    rows.claim_pack(recorder, job_ids[0])
    app._lose(database, recorder.worker, "signal 9")

    rows.claim_pack(recorder, job_ids[0])
    app._lose(database, recorder.worker, "signal 9")

    assert rows.states(database, job_ids) == ["failed", "queued"]


def test_a_process_that_lost_one_of_its_jobs_is_not_stuck(database: Database, recorder: Recorder):
    job_ids = submit(database, 2)
    registry = WorkerRegistry(database, [])
    registry._devices = {recorder.worker: None}  # type: ignore[dict-item]
    claims = rows.claim_pack(recorder, job_ids[0])
    app._lose(database, recorder.worker, "it fell silent")
    one_left = rows.attempts(database, claims[1].job_id)[-1]
    with database.writing() as session:
        attempt = session.merge(one_left)
        attempt.outcome = None

    assert registry.find_stuck_children(grace_seconds=-1) == []
