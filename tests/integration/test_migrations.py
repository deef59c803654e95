from contextlib import nullcontext
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import MetaData, insert, inspect, select, text

import migrations
from integration import rows
from integration.race import race
from migrations.upgrade import upgrade
from models.database import Database
from models.errors import DatabaseUnreachable, SchemaOutdated
from models.settings import Settings
from models.state import JobState
from models.tables import REVISION, VERSION_TABLE, Base, Job, Repair
from servers import PostgresServer
from service.operations import schema
from worker.execution.recorder import AttemptUpdate, Recorder

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
UPGRADE = """
from models.database import Database
from service.operations.schema import upgrade

database = Database(sys.argv[1])
at_once()
upgrade(database)
print(json.dumps(database.revision()))
"""


@pytest.fixture
def empty(empty_database_url: str) -> Database:
    return Database(Settings(database_url=empty_database_url).sql_url)


def constraint_names(database: Database) -> set[str]:
    inspector = inspect(database.engine)
    names = set()
    for table in Base.metadata.tables:
        keys = [inspector.get_pk_constraint(table), *inspector.get_foreign_keys(table)]
        checks = inspector.get_check_constraints(table)
        names |= {found["name"] for found in [*keys, *checks]}
    return names


def test_the_migrations_make_the_tables_of_the_models(empty: Database):
    schema.upgrade(empty)

    with empty.engine.connect() as connection:
        options = {
            "version_table": VERSION_TABLE,
            "compare_server_default": True,
            "include_name": lambda name, *_: not str(name).startswith("ix_jobs_spec_"),
        }
        context = MigrationContext.configure(connection, opts=options)
        differences = compare_metadata(context, Base.metadata)
    assert differences == []


def test_the_migrations_name_the_constraints_as_the_models_do(empty: Database):
    schema.upgrade(empty)

    migrated = constraint_names(empty)
    Base.metadata.drop_all(empty.engine)
    Base.metadata.create_all(empty.engine)
    assert migrated == constraint_names(empty)


def test_the_models_want_the_newest_revision():
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))

    head = ScriptDirectory.from_config(config).get_current_head()

    assert head == REVISION


def test_a_database_without_tables_is_refused_with_what_to_type(empty: Database):
    with pytest.raises(SchemaOutdated, match=r"at revision none.*Type: dq db upgrade"):
        empty.check_schema()


def test_a_second_upgrade_changes_nothing(empty: Database):
    schema.upgrade(empty)

    schema.upgrade(empty)

    empty.check_schema()


def test_processes_that_migrate_a_fresh_database_at_once_all_succeed(empty: Database):
    url = empty.url.render_as_string(hide_password=False)

    revisions = race(UPGRADE, *[[url]] * 2)

    assert revisions == [REVISION] * 2


def fill_at_0001(database: Database) -> dict[str, list[dict[str, Any]]]:
    """Make the tables of revision 0001 with a job in each state; return the rows."""
    upgrade(database.engine, "0001")
    at = {"created_at": NOW, "publish_due": NOW}
    job = {"sweep_id": 1, "spec": rows.SPEC.model_dump(mode="json"), "publishes": 2, **at}
    job |= {"configuration": "c", "shape": rows.SPEC.shape, "attempt": 1, "cancel_requested": False}
    job |= {"packed": False, "suspect": False, "crashes": 0, "progress_mark": 0, "epochs_done": 1}
    job |= {"checkpoint_epoch": 0, "priority": 3, "held": False, "max_crashes": 3}
    job |= {"stall_seconds": 600.0, "keep_checkpoint": False}
    measured = asdict(rows.measured(1)) | {"job_id": 1, "attempt": 1}
    result = {name: value for name, value in measured.items() if name != "epoch"}
    filled: dict[str, list[dict[str, Any]]] = {
        "sweeps": [{"id": 1, "submit_token": "t", "created_at": NOW}],
        "jobs": [{**job, "id": n, "ordinal": n, "state": s} for n, s in enumerate(JobState, 1)],
        "attempts": [{"job_id": 2, "number": 1, "worker": "w", "pid": 7, "started_at": NOW}],
        "epochs": [measured],
        "results": [{**result, "trainer_version": 1}],
        "repairs": [
            {"id": 1, "at": NOW, "action": "rung", "jobs": 4},
            {"id": 2, "at": NOW, "action": "lost", "jobs": 1},
        ],
    }
    tables = MetaData()
    tables.reflect(database.engine)
    with database.engine.begin() as connection:
        for name, added in filled.items():
            connection.execute(insert(tables.tables[name]), added)
    return filled


def test_a_filled_database_of_revision_0001_keeps_its_rows_under_the_new_names(empty: Database):
    filled = fill_at_0001(empty)

    schema.upgrade(empty)

    found = rows.everything(empty)
    with empty.reading() as session:
        jobs = session.scalars(select(Job).order_by(Job.id)).all()
        repairs = session.scalars(select(Repair.action).order_by(Repair.id)).all()
    assert {name: len(found[name]) for name in filled} == {
        name: len(added) for name, added in filled.items()
    }
    assert [job.state for job in jobs] == [*JobState]
    assert {(job.not_before, job.batches_done, job.epochs_done) for job in jobs} == {(None, 0, 1)}
    assert {job.created_at for job in jobs} == {NOW}
    assert repairs == ["republished", "lost"]
    assert rows.claim(Recorder(empty, "w", 30), 1).attempt == 2


def test_a_dq_of_revision_0001_is_refused_once_the_tables_are_upgraded(
    empty: Database, monkeypatch: pytest.MonkeyPatch
):
    fill_at_0001(empty)
    schema.upgrade(empty)
    monkeypatch.setattr("models.database.REVISION", "0001")

    with pytest.raises(
        SchemaOutdated, match=f"at revision {REVISION}.*Install the dq that made it"
    ):
        empty.check_schema()


def make_newer(database: Database, oldest: str) -> None:
    """Do what the next release may do to the tables: add to them."""
    with database.writing() as session:
        session.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9998'"))
        session.execute(text(f"UPDATE compatibility SET oldest_revision = '{oldest}'"))
        session.execute(text("ALTER TABLE jobs ADD COLUMN colour VARCHAR(20)"))
        session.execute(text("ALTER TABLE epochs ADD COLUMN warmth FLOAT DEFAULT 0 NOT NULL"))
        session.execute(text("CREATE TABLE planets (id INTEGER PRIMARY KEY)"))


@pytest.mark.parametrize("oldest", [REVISION, "9997"])
def test_a_database_made_by_a_newer_dq_is_not_touched(empty: Database, oldest: str):
    schema.upgrade(empty)
    make_newer(empty, oldest)

    refusal = pytest.raises(SchemaOutdated, match=r"made by a newer dq .*9998.*Install that one")
    with nullcontext() if oldest == REVISION else refusal:
        schema.upgrade(empty)

    assert empty.revision() == "9998"


def test_a_worker_goes_on_over_the_tables_of_the_next_release(empty: Database):
    schema.upgrade(empty)
    job_id = rows.submit_one(empty)
    make_newer(empty, oldest=REVISION)

    empty.check_schema()
    recorder = Recorder(empty, "cpu0-1@here", 30)
    claim = rows.claim(recorder, job_id)
    rows.begin(recorder, claim, rows.PROVENANCE, 0)
    rows.succeed(recorder, claim, AttemptUpdate(rows.measured_all()))

    assert rows.states(empty, [job_id]) == ["succeeded"]


def test_tables_of_a_release_that_spares_this_one_no_more_are_refused(empty: Database):
    schema.upgrade(empty)
    make_newer(empty, oldest="9997")

    with pytest.raises(SchemaOutdated, match=r"is at revision 9998, this dq wants"):
        empty.check_schema()


def test_a_configured_database_is_left_to_its_owner_to_migrate(empty_database_url: str):
    settings = Settings(database_url=empty_database_url)

    with pytest.raises(SchemaOutdated):
        schema.open_database(settings)

    assert Database(settings.sql_url).revision() is None


def test_the_embedded_database_is_migrated_when_it_is_opened(home: Path):
    database = schema.open_database(Settings())

    database.check_schema()
    assert database.name == f"sqlite:///{home}/dq.sqlite"


def test_the_embedded_database_of_a_newer_dq_is_refused(home: Path):
    with schema.open_database(Settings()).writing() as session:
        session.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
        session.execute(text("UPDATE compatibility SET oldest_revision = '9998'"))

    with pytest.raises(SchemaOutdated, match="made by a newer dq"):
        schema.open_database(Settings())


def test_a_password_may_hold_a_percent_sign(postgres: PostgresServer):
    postgres.execute("CREATE ROLE locked LOGIN SUPERUSER PASSWORD 'a%b@c%20'")
    postgres.create("of_locked")
    url = postgres.url("of_locked", "locked:a%25b%40c%2520")
    database = Database(Settings(database_url=url).sql_url)

    schema.upgrade(database)

    database.check_schema()
    assert "a%" not in database.name
    database.engine.dispose()
    postgres.drop("of_locked")


def test_a_wrong_password_is_an_unreachable_database(postgres: PostgresServer):
    url = postgres.url("migrated", "locked:wrong")

    with pytest.raises(DatabaseUnreachable, match=r"locked:\*\*\*@.*Correct DQ_DATABASE_URL"):
        Database(Settings(database_url=url).sql_url).check_schema()
