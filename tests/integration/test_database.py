import threading
from pathlib import Path

import pytest
from sqlalchemy import select, text

from integration import rows
from models.database import Database
from models.errors import DatabaseUnreachable
from models.tables import Job, Worker
from servers import Outage, PostgresServer, wait_until

postgresql_only = pytest.mark.parametrize("backend", ["postgresql"], indirect=True)


def wait_for_end(postgres: PostgresServer, pid: int) -> None:
    found = f"SELECT 1 FROM pg_stat_activity WHERE pid = {pid}"
    wait_until(lambda: not postgres.execute(found), f"the connection of {pid} is ended")


def test_an_error_within_a_transaction_undoes_all_of_it(database: Database):
    job_id = rows.submit_one(database)
    before = rows.everything(database)

    def change_and_fail() -> None:
        with database.writing() as session:
            session.get_one(Job, job_id).state = "running"
            session.flush()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        change_and_fail()

    assert rows.everything(database) == before


def test_a_reader_keeps_no_writer_waiting(database: Database):
    with database.reading() as session:
        session.execute(select(Worker)).all()
        rows.add_worker(database, "w")

    assert rows.find(database, Worker, "w")


def test_a_reader_sees_one_state_of_things(database: Database):
    rows.add_worker(database, "w")
    ids = select(Worker.id)

    with database.reading() as session:
        first = session.scalars(ids).all()
        rows.add_worker(database, "v")
        second = session.scalars(ids).all()

    assert first == second == ["w"]


def test_two_writers_of_one_row_take_turns(database: Database):
    job_id = rows.submit_one(database)

    def count() -> None:
        for _ in range(20):
            with database.writing() as session:
                job = session.get(Job, job_id, with_for_update=True)
                job.crashes += 1

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert rows.job(database, job_id).crashes == 80


def test_an_outage_is_an_error_in_words(database: Database, outage: Outage):
    rows.add_worker(database, "w")

    with (
        outage(database),
        pytest.raises(DatabaseUnreachable, match=r"does not answer: .*Type: dq doctor"),
    ):
        rows.add_worker(database, "v")


def test_after_an_outage_the_same_database_answers_again(database: Database, outage: Outage):
    rows.add_worker(database, "w")

    with outage(database), pytest.raises(DatabaseUnreachable):
        rows.add_worker(database, "v")
    rows.add_worker(database, "v")

    assert rows.find(database, Worker, "w")
    assert rows.find(database, Worker, "v")


def test_after_a_restart_nobody_meets_a_connection_of_before(database: Database, outage: Outage):
    rows.add_worker(database, "w")

    with outage(database):
        pass
    rows.add_worker(database, "v")

    assert rows.find(database, Worker, "v")


@postgresql_only
def test_a_connection_that_the_server_ended_is_an_unreachable_database(
    postgres: PostgresServer, database: Database
):
    def lose_connection() -> None:
        with database.writing() as session:
            pid = session.scalars(text("SELECT pg_backend_pid()")).one()
            postgres.execute(f"SELECT pg_terminate_backend({pid})")
            wait_for_end(postgres, pid)
            session.execute(text("SELECT 1"))

    with pytest.raises(DatabaseUnreachable):
        lose_connection()


@postgresql_only
def test_a_transaction_that_idled_for_too_long_is_an_unreachable_database(
    postgres: PostgresServer, database: Database
):
    """As when its process was stopped, with SIGSTOP or with the whole machine, and went on."""

    def idle() -> None:
        with database.writing() as session:
            pid = session.scalars(text("SELECT pg_backend_pid()")).one()
            session.execute(text("SET idle_in_transaction_session_timeout = '10ms'"))
            wait_for_end(postgres, pid)
            session.execute(text("SELECT 1"))

    with pytest.raises(DatabaseUnreachable):
        idle()


@postgresql_only
def test_no_process_that_hangs_keeps_a_lock_or_another_process_for_long(database: Database):
    """That these end what they should is PostgreSQL's to show, and would take their time."""
    names = ["lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout"]

    with database.reading() as session:
        seconds = [session.scalars(text(f"SHOW {name}")).one() for name in names]
        driver = session.connection().connection.driver_connection
        asked = driver.info.get_parameters()

    assert seconds == ["10s", "20s", "20s"]
    assert asked["tcp_user_timeout"] == "10000"


def test_a_folder_that_cannot_be_made_is_an_unreachable_database(tmp_path: Path):
    (tmp_path / "file").write_text("")

    with pytest.raises(DatabaseUnreachable, match="cannot be made"):
        Database(f"sqlite:///{tmp_path}/file/dq.sqlite").revision()


def test_a_file_that_is_no_database_is_an_unreachable_database(tmp_path: Path):
    (tmp_path / "dq.sqlite").write_bytes(b"this is no database, but it is long enough" * 100)

    with pytest.raises(DatabaseUnreachable, match="file is not a database"):
        Database(f"sqlite:///{tmp_path}/dq.sqlite").revision()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://me:secret@host/dq",
        "postgresql+psycopg://me@host/dq?password=secret&sslpassword=secret",
    ],
)
def test_the_name_of_a_database_hides_its_passwords(url: str):
    assert "me" in Database(url).name
    assert "secret" not in Database(url).name
