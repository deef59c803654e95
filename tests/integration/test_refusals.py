"""A PostgreSQL that answers and refuses: each time one sentence, with what to type."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from click.testing import CliRunner

from integration import rows
from models.database import Database
from models.errors import DatabaseRefused, DatabaseUnreachable, ValueRefused
from models.settings import Settings
from models.tables import Job
from servers import PostgresServer
from service.cli import main
from service.operations import doctor, schema


@pytest.fixture
def name(postgres: PostgresServer) -> Iterator[str]:
    """The name of an empty database; role `poor` may connect to it, and do nothing else."""
    name = f"refusing_{uuid.uuid4().hex[:8]}"
    postgres.create(name)
    with psycopg.connect(postgres.url(name), autocommit=True) as owner:
        owner.execute("DROP ROLE IF EXISTS poor")
        owner.execute("CREATE ROLE poor LOGIN")
        yield name
        owner.execute("DROP OWNED BY poor")
    postgres.drop(name)


@pytest.fixture(autouse=True)
def here(name: str, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DQ_DATABASE_URL", postgres.url(name, "poor"))
    monkeypatch.setenv("DQ_BROKER_URL", "redis://127.0.0.1:1")


@contextmanager
def owner_of(postgres: PostgresServer, name: str) -> Iterator["psycopg.Connection[object]"]:
    with psycopg.connect(postgres.url(name), autocommit=True) as owner:
        yield owner


def migrate(postgres: PostgresServer, name: str, *grants: str) -> None:
    """Have the superuser make the tables, and give `poor` some rights."""
    database = Database(Settings(database_url=postgres.url(name)).sql_url)
    schema.upgrade(database)
    database.engine.dispose()
    with owner_of(postgres, name) as owner:
        for grant in grants:
            owner.execute(grant.encode())


def dq(*words: str) -> tuple[int, str]:
    """Run a command in this process; return its exit code and what it said."""
    done = CliRunner().invoke(main, words)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, " ".join(done.output.split())


def check_database() -> doctor.Check:
    return next(check for check in doctor.check_readiness() if check.name == "database")


def fix(postgres: PostgresServer, name: str, said: str) -> None:
    """Type what a message said."""
    with owner_of(postgres, name) as owner:
        for statement in said.partition("type in psql: ")[2].split("; "):
            owner.execute(statement.encode())


def test_without_the_right_to_create_tables_the_error_names_the_grant_that_fixes_it(
    postgres: PostgresServer, name: str
):
    code, said = dq("db", "upgrade")
    fix(postgres, name, said)
    code_then, _ = dq("db", "upgrade")

    assert code == 3
    assert said.endswith("GRANT CREATE ON SCHEMA public TO poor")
    assert "permission denied for schema public" in said
    assert code_then == 0


def test_without_the_right_to_read_the_error_names_the_grants_that_fix_it(
    postgres: PostgresServer, name: str
):
    migrate(postgres, name)

    codes = [dq(*words) for words in (["status"], ["results"], ["db", "check"])]
    check = check_database()
    fix(postgres, name, codes[0][1])

    assert [code for code, _ in codes] == [3, 3, 3]
    assert all("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES" in said for _, said in codes)
    assert (check.state, check.fix and check.fix.split()[-1]) == ("fail", "poor")
    assert dq("status")[0] == 0
    assert check_database().state == "ok"


def test_a_role_that_may_only_read_is_found_by_doctor(postgres: PostgresServer, name: str):
    migrate(postgres, name, "GRANT SELECT ON ALL TABLES IN SCHEMA public TO poor")

    check = check_database()

    assert check.state == "fail"
    assert "permission denied for table jobs" in check.found


def test_a_table_of_another_program_is_named_with_how_to_use_another_schema(
    postgres: PostgresServer, name: str, monkeypatch: pytest.MonkeyPatch
):
    with owner_of(postgres, name) as owner:
        owner.execute("CREATE TABLE jobs (id int)")
    url = postgres.url(name)
    monkeypatch.setenv("DQ_DATABASE_URL", url)

    code, said = dq("db", "upgrade")
    with owner_of(postgres, name) as owner:
        owner.execute("CREATE SCHEMA dq AUTHORIZATION dq")
    monkeypatch.setenv("DQ_DATABASE_URL", f"{url}&options=-csearch_path%3Ddq")
    code_then, _ = dq("db", "upgrade")

    assert code == 3
    assert 'relation "jobs" already exists' in said
    assert "CREATE SCHEMA dq AUTHORIZATION dq" in said
    assert "?options=-csearch_path%3Ddq" in said
    assert code_then == 0
    assert dq("status")[0] == 0


def test_a_missing_schema_is_named_with_how_to_create_it(
    postgres: PostgresServer, name: str, monkeypatch: pytest.MonkeyPatch
):
    url = f"{postgres.url(name)}&options=-csearch_path%3Dlab"
    monkeypatch.setenv("DQ_DATABASE_URL", url)

    code, said = dq("db", "upgrade")

    assert code == 3
    assert said.endswith("CREATE SCHEMA lab AUTHORIZATION dq")


def test_two_projects_in_two_schemas_stay_separate(postgres: PostgresServer, name: str):
    with owner_of(postgres, name) as owner:
        owner.execute("CREATE SCHEMA one; CREATE SCHEMA two")
    urls = [f"{postgres.url(name)}&options=-csearch_path%3D{schema}" for schema in ("one", "two")]
    one, two = (Database(Settings(database_url=url).sql_url) for url in urls)
    for database in (one, two):
        schema.upgrade(database)

    rows.submit_one(one)

    assert rows.find(one, Job, 1)
    assert rows.find(two, Job, 1) is None
    with one.reading() as session:  # what dq sets itself holds beside it
        driver = session.connection().connection.driver_connection
        assert driver.execute("SHOW statement_timeout").fetchone() == ("20s",)
    for database in (one, two):
        database.engine.dispose()


def test_options_in_the_url_take_precedence_over_those_of_dq(postgres: PostgresServer, name: str):
    url = f"{postgres.url(name)}&connect_timeout=7&options=-c%20lock_timeout%3D4s"
    database = Database(Settings(database_url=url).sql_url)

    with database.reading() as session:
        driver = session.connection().connection.driver_connection
        found = driver.execute("SHOW lock_timeout").fetchone()
        asked = driver.info.get_parameters()

    assert found == ("4s",)
    assert (asked["connect_timeout"], asked["tcp_user_timeout"]) == ("7", "10000")
    database.engine.dispose()


@pytest.mark.parametrize(
    ("database", "role", "fix"),
    [
        ("nowhere", "dq", "CREATE DATABASE nowhere OWNER dq ENCODING 'UTF8' TEMPLATE template0"),
        ("postgres", "nobody", "Correct DQ_DATABASE_URL or DQ_DATABASE_PASSWORD_FILE"),
        ("postgres", "locked:wrong", "Correct DQ_DATABASE_URL or DQ_DATABASE_PASSWORD_FILE"),
    ],
)
def test_a_worker_does_not_wait_for_an_error_that_a_person_must_fix(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch, database: str, role: str, fix: str
):
    monkeypatch.setenv("DQ_DATABASE_URL", postgres.url(database, role))

    code, said = dq("worker", "--device", "cpu")

    assert code == 3
    assert said.endswith(fix)
    assert "wrong" not in said


def test_tables_that_lack_a_column_are_not_dqs(
    postgres: PostgresServer, name: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DQ_DATABASE_URL", postgres.url(name))
    migrate(postgres, name, "ALTER TABLE jobs RENAME COLUMN priority TO other")

    code, said = dq("status")

    assert code == 3
    assert "has tables that are not dq's" in said


def test_a_read_only_database_is_an_outage_and_its_connection_is_dropped(
    postgres: PostgresServer, name: str
):
    migrate(postgres, name)
    database = Database(Settings(database_url=postgres.url(name)).sql_url)
    rows.submit_one(database)
    postgres.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    database.engine.dispose()

    with pytest.raises(DatabaseUnreachable, match=r"is read-only.*ALTER SYSTEM RESET") as raised:
        rows.submit_one(database)
    left = database.engine.pool.checkedin()
    check_fails = pytest.raises(DatabaseUnreachable, match="is read-only")
    with check_fails:
        database.check_writable()
    postgres.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    rows.submit_one(database)

    assert not isinstance(raised.value, DatabaseRefused)
    assert left == 0
    database.check_writable()
    database.engine.dispose()


def test_doctor_says_that_a_database_is_read_only(
    postgres: PostgresServer, name: str, monkeypatch: pytest.MonkeyPatch
):
    migrate(postgres, name)
    monkeypatch.setenv("DQ_DATABASE_URL", postgres.url(name))
    postgres.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")

    check = check_database()

    assert check.state == "fail"
    assert "is read-only" in check.found
    assert check.fix
    assert "ALTER SYSTEM RESET" in check.fix


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_that_is_not_in_utf8_gets_no_tables(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch, encoding: str
):
    other = f"in_{encoding.lower()}"
    postgres.execute(f"CREATE DATABASE {other} TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'")
    monkeypatch.setenv("DQ_DATABASE_URL", postgres.url(other))

    code, said = dq("db", "upgrade")
    postgres.drop(other)

    assert code == 3
    assert f"keeps text as {encoding}, dq needs UTF8" in said
    assert "CREATE DATABASE dq_utf8 ENCODING 'UTF8' TEMPLATE template0" in said


def test_a_character_that_the_encoding_lacks_is_an_error_and_doctor_notes_the_encoding(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
):
    """Of a database that an earlier dq made."""
    postgres.execute("CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
    url = postgres.url("latin")
    monkeypatch.setenv("DQ_DATABASE_URL", url)
    database = Database(Settings(database_url=url).sql_url)
    with monkeypatch.context() as earlier:
        earlier.setattr(Database, "encoding", "UTF8")
        schema.upgrade(database)
    rows.submit_one(database, name="café")

    with pytest.raises(ValueRefused, match="cannot store a character"):
        rows.submit_one(database, name="\N{ROCKET}")
    codes = [dq(*words) for words in (["tag", "1", "\N{ROCKET}"], ["note", "1", "\N{ROCKET}"])]
    check = check_database()
    database.engine.dispose()
    postgres.drop("latin")

    assert [code for code, _ in codes] == [2, 2]
    assert all("ENCODING 'UTF8'" in said for _, said in codes)
    assert (check.state, "keeps text as LATIN1" in check.found) == ("note", True)


def test_an_exception_in_a_check_of_doctor_is_a_failed_check(
    monkeypatch: pytest.MonkeyPatch,
):
    def fall_over(*_: object) -> None:
        raise ZeroDivisionError("nobody foresaw\nthis")

    monkeypatch.setattr(doctor, "Database", fall_over)

    check = check_database()

    assert (check.state, check.found) == (
        "fail",
        "this check failed: ZeroDivisionError: nobody foresaw this",
    )
