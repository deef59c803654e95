import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from sqlalchemy import true

from integration import rows
from integration.rows import SPEC
from models.clock import from_now
from models.database import Database
from models.state import Outcome
from models.tables import Job
from servers import wait_until
from service import jobs
from service.queries.jobs import show_job
from service.queries.progress import measure_progress
from service.queries.selectors import ids_condition
from service.reports.progress_tables import describe_progress
from worker.execution import runner
from worker.execution.checkpoints import Checkpoints
from worker.execution.claims import Claim
from worker.execution.ending import CANCELLED, LEASE_LOST
from worker.execution.heartbeat import Heartbeat
from worker.execution.recorder import AttemptStart, AttemptUpdate, Recorder
from worker.training import engine
from worker.training.data import tensors as data

#: What is about processes; the rows are looked at on both databases elsewhere.
on_sqlite = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)

_ATTEMPT = """
import json
import sys
import time
from threading import Event

import worker.execution.heartbeat
from models.database import Database
from worker.execution.heartbeat import Heartbeat
from worker.execution.recorder import Recorder

url, job_id, spec = sys.argv[1:]
worker.execution.heartbeat._GRACE_SECONDS = 0.5
recorder = Recorder(Database(url), "stuck@here", 30)
(claim,) = recorder.claim_next(lambda _: 1)
print("running", flush=True)
"""

STUCK = f"""{_ATTEMPT}
with Heartbeat(recorder, [claim], Event()) as heartbeat:
    heartbeat.check()
    Event().wait()
"""

#: Twice as long as it may stand still.
MOVING = f"""{_ATTEMPT}
with Heartbeat(recorder, [claim], Event()) as heartbeat:
    for _ in range(40):
        heartbeat.check()
        time.sleep(0.1)
"""


def start(code: str, database: Database, job_id: int) -> subprocess.Popen[str]:
    url = database.url.render_as_string(hide_password=False)
    command = [sys.executable, "-c", code, url, f"{job_id}"]
    return subprocess.Popen([*command, SPEC.model_dump_json()], stdout=subprocess.PIPE, text=True)


@pytest.fixture
def claim(database: Database, recorder: Recorder) -> Claim:
    return rows.claim(recorder, rows.submit_one(database))


@on_sqlite
def test_a_training_that_makes_no_progress_is_failed_and_killed(database: Database):
    job_id = rows.submit_one(database, stall_seconds=0.5)

    with start(STUCK, database, job_id) as stuck:
        ended = stuck.wait(60)

    job, (attempt,) = rows.job(database, job_id), rows.attempts(database, job_id)
    assert ended == -signal.SIGKILL
    assert (job.state, job.reason) == ("failed", "no progress for 0.5 s")
    assert attempt.outcome == Outcome.FAILED


@on_sqlite
def test_a_training_that_makes_progress_may_take_longer_than_it_may_stand_still(
    database: Database,
):
    job_id = rows.submit_one(database, stall_seconds=2)

    with start(MOVING, database, job_id) as moving:
        ended = moving.wait(60)

    assert ended == 0
    assert rows.job(database, job_id).state == "running"


@on_sqlite
def test_a_training_that_does_not_stop_when_it_is_cancelled_is_killed(database: Database):
    job_id = rows.submit_one(database)

    with start(STUCK, database, job_id) as stuck:
        assert stuck.stdout
        stuck.stdout.readline()
        jobs.cancel(database, ids_condition([job_id]))
        ended = stuck.wait(60)

    assert ended == -signal.SIGKILL
    assert rows.job(database, job_id).state == "cancelled"


def test_epochs_are_written_while_the_training_goes_on(database: Database, claim: Claim):
    recorder = Recorder(database, "w", lease_seconds=3600)  # which need not be renewed

    with Heartbeat(recorder, [claim], threading.Event()) as heartbeat:
        heartbeat.report(claim, rows.measured(1))
        wait_until(lambda: rows.epochs(database, claim.job_id), "the epoch is written")
        with heartbeat.leaving([claim]) as unwritten:
            pass

    assert unwritten == {claim: AttemptUpdate()}
    assert rows.job(database, claim.job_id).epochs_done == 1


def test_where_an_attempt_begins_is_written_before_its_first_epoch_is_over(
    database: Database, claim: Claim
):
    recorder = Recorder(database, "w", lease_seconds=3600)  # which need not be renewed

    with Heartbeat(recorder, [claim], threading.Event()) as heartbeat:
        heartbeat.begin({claim: AttemptStart(rows.PROVENANCE, 0)})
        wait_until(lambda: rows.attempts(database, claim.job_id)[0].provenance, "it is written")
        with heartbeat.leaving([claim]) as unwritten:
            pass

    assert unwritten == {claim: AttemptUpdate()}


def test_what_is_not_written_yet_is_handed_back_at_the_end(recorder: Recorder, claim: Claim):
    start = AttemptStart(rows.PROVENANCE, 0)

    with Heartbeat(recorder, [claim], threading.Event()) as heartbeat:
        heartbeat.begin({claim: start})
        heartbeat.report(claim, rows.measured(1))
        heartbeat.report_checkpoint(claim, "1/1-1-0", 1)

        with heartbeat.leaving([claim]) as unwritten:
            pass

    assert unwritten == {claim: AttemptUpdate((rows.measured(1),), "1/1-1-0", 1, start)}


def test_a_lease_is_renewed_while_the_training_goes_on(database: Database, claim: Claim):
    recorder = Recorder(database, "w", lease_seconds=1)
    before = rows.job(database, claim.job_id).lease_until

    with Heartbeat(recorder, [claim], threading.Event()):
        wait_until(
            lambda: rows.job(database, claim.job_id).lease_until != before, "the lease is renewed"
        )


def test_a_lease_is_renewed_long_before_it_is_over(
    database: Database, recorder: Recorder, claim: Claim
):
    rows.change(database, claim.job_id, lease_until=from_now(1))
    before = rows.job(database, claim.job_id).lease_until
    heartbeat = Heartbeat(recorder, [claim], threading.Event())

    heartbeat._beaten_at -= recorder.lease_seconds / 2
    heartbeat._beat()

    assert rows.job(database, claim.job_id).lease_until > before


class WatchedRecorder(Recorder):
    """A recorder that tells when a beat, which may have to wait for the row, begins."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, "w", 30)
        self.began = threading.Event()

    def renew(self, progress: Mapping[Claim, AttemptUpdate]) -> set[Claim]:
        self.began.set()
        return super().renew(progress)


def test_the_checkpoint_that_sql_points_to_is_always_there(
    database: Database, claim: Claim, tmp_path: Path
):
    """Also if the next one is saved while the database takes its time to note the one before."""
    digits = data.load("digits", tmp_path, "cpu")
    training = engine.start(SPEC, digits, "cpu")
    member = runner._Training(claim, Checkpoints(tmp_path, claim), training)
    recorder = WatchedRecorder(database)

    with Heartbeat(recorder, [claim], threading.Event()) as heartbeat:
        with database.writing() as session:
            session.get(Job, claim.job_id, with_for_update=True)
            training.epoch = 1
            heartbeat.report(claim, rows.measured(1))
            runner._save(member, heartbeat)
            assert recorder.began.wait(10)
            training.epoch = 2
            runner._save(member, heartbeat)
        name = wait_until(
            lambda: rows.job(database, claim.job_id).checkpoint, "a checkpoint is noted"
        )
        is_there = (tmp_path / name).exists()

    assert is_there, f"SQL points to {name}, which is gone"


def test_an_epoch_that_takes_long_shows_how_far_it_is_until_it_is_done(
    database: Database, recorder: Recorder, tmp_path: Path
):
    recorder.lease_seconds = 1  # it beats four times as often
    job_id = rows.submit_one(database)
    claim = rows.claim(recorder, job_id)
    images = data.load(SPEC.dataset, tmp_path, torch.device("cpu"))
    training = engine.start(SPEC, images, torch.device("cpu"))
    training.batch = 5

    def batches_done() -> int:
        return show_job(database, job_id).row.batches_done

    with Heartbeat(recorder, [claim], threading.Event()) as heartbeat:
        heartbeat.follow({claim: training})
        wait_until(batches_done, "the batches are there")
        within, progress = show_job(database, job_id).row, measure_progress(database, true())
        heartbeat.report(claim, rows.measured(1))
        training.epoch, training.batch = 1, 0
        wait_until(lambda: not batches_done(), "the epoch is done")

    assert (within.epochs_done, within.batches_done) == (0, 5)
    assert within.epochs_reached == progress.epochs_reached == 5 / 12
    assert describe_progress(progress) == (
        f"1 running; 0 of 3 epochs; job {job_id}: batch 5 of 12 of epoch 1"
    )


def test_a_job_that_is_given_back_within_an_epoch_has_no_batches_done(
    database: Database, recorder: Recorder, claim: Claim
):
    rows.record(recorder, claim, AttemptUpdate(batches_done=5))
    while_running = rows.job(database, claim.job_id).batches_done

    rows.release(recorder, claim)

    assert while_running == 5
    assert rows.job(database, claim.job_id).batches_done == 0


def test_the_first_reason_to_stop_an_attempt_counts(recorder: Recorder, claim: Claim):
    heartbeat = Heartbeat(recorder, [claim], threading.Event())

    heartbeat._stop(claim, CANCELLED)
    heartbeat._stop(claim, LEASE_LOST)

    assert heartbeat.check() == {claim: CANCELLED}


def test_recording_an_end_may_take_longer_than_the_other_attempts_may_stand_still(
    database: Database, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
):
    claims = [rows.claim(recorder, job_id) for job_id in rows.submit(database, SPEC, SPEC)]
    heartbeat = Heartbeat(recorder, claims, threading.Event())
    kills: list[object] = []

    with monkeypatch.context() as patched:
        patched.setattr(os, "kill", lambda *sent: kills.append(sent))
        with heartbeat.leaving(claims[:1]):
            heartbeat._checked_at -= 2 * claims[1].stall_seconds
            heartbeat._watch()

    assert kills == []
