"""What a database does to jobs that run, and what becomes of them: none is charged with it."""

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import text

from integration import rows
from integration.process import make_process, run
from models.database import Database
from models.state import Outcome
from servers import PostgresServer, wait_until
from worker.execution import runner
from worker.execution.claims import Claim
from worker.execution.context import WorkerContext
from worker.execution.heartbeat import Heartbeat
from worker.execution.recorder import AttemptUpdate, Recorder

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.parametrize("backend", ["postgresql"], indirect=True),
]
#: A shape that a CPU packs.
PACKED = {"hidden": (16, 16), "keep": (0.9, 0.8)}


@contextmanager
def changed(postgres: PostgresServer, change: str, undo: str) -> Iterator[None]:
    with psycopg.connect(postgres.url("migrated"), autocommit=True) as owner:
        owner.execute(change.encode())
        try:
            yield
        finally:
            owner.execute(undo.encode())


@pytest.fixture(params=["off", "auto"])
def process(request: pytest.FixtureRequest, recorder: Recorder, tmp_path: Path) -> WorkerContext:
    """One that trains jobs alone, and one that trains them together."""
    return make_process(recorder, tmp_path, pack=request.param)


def submit(database: Database) -> Sequence[int]:
    return rows.submit(database, *[rows.spec(seed=seed, **PACKED) for seed in range(2)])


def test_a_write_that_the_database_refuses_gives_the_jobs_back_for_later_and_blames_none(
    database: Database, process: WorkerContext, postgres: PostgresServer
):
    job_ids = submit(database)
    taken = job_ids if process.pack == "auto" else job_ids[:1]

    with changed(
        postgres,
        "ALTER TABLE results ADD CONSTRAINT never CHECK (false)",
        "ALTER TABLE results DROP CONSTRAINT never",
    ):
        run(process, job_ids[0])
    left = [rows.job(database, job_id) for job_id in taken]
    with database.reading() as session:
        waits = session.scalars(
            text("SELECT extract(epoch FROM not_before - now()) FROM jobs WHERE attempt = 1")
        ).all()
    for job_id in taken:
        rows.change(database, job_id, not_before=None)
    run(process, job_ids[0])

    assert [(job.state, job.crashes, job.suspect) for job in left] == [
        ("queued", 0, False) for _ in taken
    ]
    assert all(20 < wait <= 30 for wait in waits)
    assert "the database failed" in rows.log(database, job_ids[0])[1]
    for job_id in taken:
        outcomes = [attempt.outcome for attempt in rows.attempts(database, job_id)]
        assert outcomes == [Outcome.RELEASED, Outcome.SUCCEEDED]


@pytest.mark.parametrize(
    ("change", "undo", "message"),
    [
        (
            "ALTER TABLE results RENAME TO elsewhere",
            "ALTER TABLE elsewhere RENAME TO results",
            "has tables that are not dq's",
        ),
        (
            "ALTER ROLE dq SET default_transaction_read_only = on",
            "ALTER ROLE dq RESET default_transaction_read_only",
            "is read-only",
        ),
    ],
    ids=["a table renamed", "read-only"],
)
def test_a_result_waits_until_the_database_takes_it(
    *,
    database: Database,
    process: WorkerContext,
    postgres: PostgresServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    change: str,
    undo: str,
    message: str,
):
    monkeypatch.setattr("worker.execution.recorder._RETRY_SECONDS", 0.05)
    caplog.set_level(logging.INFO)
    job_ids = submit(database)
    thread = threading.Thread(target=runner.run_all, args=[process], daemon=True)

    with changed(postgres, change, undo):
        database.engine.dispose()
        thread.start()
        wait_until(lambda: "(trying again)" in caplog.text, "the result is not taken")
    thread.join(60)

    assert [each.outcome for each in rows.attempts(database, job_ids[0])] == [Outcome.SUCCEEDED]
    assert message in caplog.text
    assert "the database: works again after" in caplog.text


class FallibleRecorder(Recorder):
    """A recorder whose first renewals fail with an error of no known kind."""

    renewals = 0

    def renew(self, progress: Mapping[Claim, AttemptUpdate]) -> set[Claim]:
        self.renewals += 1
        if self.renewals < 3:
            raise ZeroDivisionError("a bug")
        return super().renew(progress)


def test_a_heartbeat_goes_on_after_an_unknown_error_and_logs_it(
    database: Database, recorder: Recorder, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO)
    claim = rows.claim(recorder, rows.submit_one(database))
    before = rows.job(database, claim.job_id).lease_until

    with Heartbeat(FallibleRecorder(database, "w", 1), [claim], threading.Event()):
        wait_until(
            lambda: rows.job(database, claim.job_id).lease_until != before, "the lease is renewed"
        )
        wait_until(lambda: "works again" in caplog.text, "it says so")

    assert "ZeroDivisionError('a bug')" in caplog.text
    assert caplog.text.count("Traceback") == 1
