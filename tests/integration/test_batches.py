"""Changes of many jobs: bulk statements, in transactions between which others write."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event, func, select

from integration import rows
from integration.rows import FakeBroker
from models.database import Database
from models.message import Priority
from models.tables import Job, LogLine
from service import jobs
from service.jobs import SubmitOptions
from service.jobs.annotations import add_tags, remove_tags, write_note
from service.jobs.batches import BatchSize
from service.jobs.deletion import delete_jobs
from service.queries.selectors import parse_selectors
from worker.execution.recorder import Recorder

#: More than two transactions take.
MANY = 5_000
SWEEP = parse_selectors(["s1"])
Do = Callable[[Database, Any], object]


@pytest.fixture(scope="module")
def specs() -> list[Any]:
    return [rows.spec(seed=seed) for seed in range(MANY)]


@pytest.fixture
def many(database: Database, specs: list[Any]) -> Database:
    """A database with many queued jobs, of the sweep 1."""
    jobs.submit(database, FakeBroker(), specs, SubmitOptions(), "token")
    return database


@contextmanager
def counting(database: Database) -> Iterator[list[str]]:
    """Give a list of the statements that are executed."""
    statements: list[str] = []

    def note(_: Any, __: Any, statement: str, *___: Any) -> None:
        statements.append(statement)

    event.listen(database.engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(database.engine, "before_cursor_execute", note)


def count(database: Database, *which: Any) -> int:
    with database.reading() as session:
        return session.scalar(select(func.count()).select_from(Job).where(*which)) or 0


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_whatever_is_done_to_many_jobs_is_done_in_bulk(many: Database, tmp_path: Any):
    deeds: dict[str, Callable[[], object]] = {
        "hold": lambda: jobs.hold(many, SWEEP),
        "release": lambda: jobs.release(many, FakeBroker(), SWEEP),
        "cancel": lambda: jobs.cancel(many, SWEEP),
        "retry": lambda: jobs.retry(many, FakeBroker(), SWEEP, from_scratch=True),
        "resume": lambda: jobs.resume(many, FakeBroker()),
        "tag": lambda: add_tags(many, SWEEP, ["paper"]),
        "untag": lambda: remove_tags(many, SWEEP, ["paper"]),
        "note": lambda: write_note(many, SWEEP, "a note"),
        "cancel again": lambda: jobs.cancel(many, SWEEP),
        "delete": lambda: delete_jobs(many, SWEEP, tmp_path),
    }

    executed = {}
    for name, deed in deeds.items():
        with counting(many) as statements:
            deed()
        executed[name] = len(statements)

    # Batches become smaller where the machine is slow.
    assert max(executed.values()) < MANY / 10, executed
    assert count(many) == 0


def test_each_job_of_many_has_its_log_line_and_its_state(many: Database):
    changes = jobs.cancel(many, SWEEP)

    with many.reading() as session:
        lines = session.execute(select(LogLine.text, func.count()).group_by(LogLine.text)).all()
    assert [(change.job_id, change.change) for change in changes] == [
        (job_id, "cancelled") for job_id in range(1, MANY + 1)
    ]
    assert list(map(tuple, lines)) == [("cancelled: cancelled before it ran", MANY)]
    assert count(many, Job.state == "cancelled", Job.finished_at.is_not(None)) == MANY


def test_others_write_between_batches_and_an_interrupt_leaves_whole_batches(
    many: Database,
):
    other = Database(many.url.render_as_string(hide_password=False))
    seen: list[int] = []

    def interrupt(done: int, total: int) -> None:
        write_note(other, parse_selectors([str(MANY)]), f"{done} of {total}")
        seen.append(done)
        if len(seen) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        jobs.cancel(many, SWEEP, interrupt)

    assert rows.job(many, MANY).note == f"{seen[1]} of {MANY}"
    assert count(many, Job.state == "cancelled") == seen[1]
    assert count(many, Job.state == "queued") == MANY - seen[1]
    other.engine.dispose()


def test_a_submit_that_was_interrupted_is_completed_by_its_token_and_makes_no_job_twice(
    database: Database, specs: list[Any]
):
    def interrupt(progress: Any) -> None:
        if progress.sent:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        jobs.submit(
            database, FakeBroker(), specs, SubmitOptions(reuse=True), "token", on_progress=interrupt
        )
    saved = count(database)
    submitted = jobs.submit(database, FakeBroker(), specs, SubmitOptions(reuse=True), "token")

    assert 0 < saved < MANY
    assert submitted.created == tuple(range(1, MANY + 1))
    assert count(database) == MANY


def test_a_job_that_is_not_selected_any_more_is_left_alone(many: Database, recorder: Recorder):
    """A worker takes a job after the command looked which there are."""
    last = MANY

    def start_last(done: int, _: int) -> None:
        if done < last and rows.job(many, last).state == "queued":
            rows.claim(recorder, last)

    changes = jobs.cancel(many, parse_selectors(["state:queued"]), start_last)

    assert rows.job(many, last).state == "running"
    assert last not in {change.job_id for change in changes}


def test_a_batch_is_as_large_as_its_transaction_is_short():
    size = BatchSize()
    first = size.jobs

    size.learn(0.8)
    slow = size.jobs
    for _ in range(20):
        size.learn(0.001)

    assert slow == first / 2
    assert size.jobs == 5000


def test_priorities_of_many_known_jobs_are_raised(many: Database, specs: list[Any]):
    broker = FakeBroker()

    submitted = jobs.submit(
        many, broker, specs, SubmitOptions(reuse=True, priority=Priority.HIGH), "other"
    )

    assert (len(submitted.open_before), submitted.notes) == (MANY, ())
    assert broker.published == []
    assert count(many, Job.priority == Priority.HIGH) == MANY
