"""An SQLite file that answers and refuses: each time one sentence, with what to type."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from integration import rows
from models.database import Database
from models.errors import DatabaseRefused, DatabaseUnreachable, DqError
from models.settings import Settings
from servers import FAST_FOLDER, short_folder
from service.operations import doctor, schema


@pytest.fixture
def file() -> Iterator[Path]:
    with short_folder("dq-sqlite-", FAST_FOLDER) as folder:
        yield folder / "dq.sqlite"


@pytest.fixture
def database(file: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    url = f"sqlite:///{file}"
    monkeypatch.setenv("DQ_DATABASE_URL", url)
    database = Database(Settings(database_url=url).sql_url)
    yield database
    database.engine.dispose()


def limit(database: Database, pragma: str) -> None:
    """Have SQLite behave as if the disk did."""

    def set_pragma(connection: Any, _: Any) -> None:
        connection.execute(f"PRAGMA {pragma}")

    event.listen(database.engine, "connect", set_pragma)
    database.engine.dispose()


@pytest.mark.parametrize(
    ("pragma", "found", "fix"),
    [
        ("query_only = on", "is read-only: attempt to write", "Type: chmod u+w {file}"),
        ("max_page_count = 1", "has a full disk: database or disk is full", "Free some space"),
    ],
)
def test_a_file_that_takes_no_writes_is_an_outage_with_how_to_fix_it(
    database: Database, file: Path, pragma: str, found: str, fix: str
):
    schema.upgrade(database)
    job_id = rows.submit_one(database)
    limit(database, pragma)

    with pytest.raises(DatabaseUnreachable) as raised:
        rows.submit(database, *[rows.SPEC] * 200)

    assert not isinstance(raised.value, DatabaseRefused)
    assert found in str(raised.value)
    assert fix.format(file=file) in raised.value.fix
    assert rows.job(database, job_id)


def test_a_file_that_takes_no_writes_is_not_ready(database: Database):
    schema.upgrade(database)
    limit(database, "query_only = on")

    with pytest.raises(DatabaseUnreachable, match="is read-only"):
        database.check_writable()


def test_a_table_of_another_program_is_named(database: Database, file: Path):
    sqlite3.connect(file).execute("CREATE TABLE jobs (id int)")

    with pytest.raises(DatabaseRefused, match=r"table jobs already exists.*Name a file for dq"):
        schema.upgrade(database)


def test_a_damaged_file_is_an_error_with_how_to_recover_it_and_doctor_reports_it(
    database: Database, file: Path
):
    schema.upgrade(database)
    rows.submit(database, *[rows.SPEC] * 200)
    database.engine.dispose()
    with file.open("r+b") as damaged:
        damaged.seek(3 * 4096)
        damaged.write(b"\xff" * (file.stat().st_size - 3 * 4096))

    checks = {check.name: check for check in doctor.check_readiness()}
    with pytest.raises(DqError, match=r"sqlite3 \S+ \.recover"):
        rows.submit(database, rows.SPEC)

    assert "Traceback" not in checks["database"].found


def test_a_worker_opens_its_database_as_soon_as_it_answers_and_says_why_it_waits(
    database: Database, file: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(schema, "_RETRY_SECONDS", 0.01)
    schema.upgrade(database)
    database.engine.dispose()
    away = file.rename(file.with_name("away"))
    file.mkdir()
    said: list[str] = []

    def come_back(why: str) -> None:
        said.append(why)
        file.rmdir()
        away.rename(file)

    opened = schema.open_when_reachable(Settings.load(), come_back)

    assert opened.is_compatible()
    assert len(said) == 1
    assert "cannot be opened: unable to open database file" in said[0]
    assert said[0].endswith("Waiting until it answers.")
    opened.engine.dispose()
