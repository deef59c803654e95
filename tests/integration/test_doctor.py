from pathlib import Path

import pytest
from sqlalchemy import text

from models.database import Database
from models.settings import Settings
from models.tables import REVISION, VERSION_TABLE
from servers import RedisServer
from service.operations import doctor, schema


def find(name: str) -> doctor.Check:
    return next(check for check in doctor.check_readiness() if check.name == name)


def test_a_redis_on_a_unix_socket_is_found(redis: RedisServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DQ_BROKER_URL", redis.url)

    check = find("redis")

    assert redis.url.startswith("redis+socket://")
    assert check.state == "note"  # it keeps nothing on disk
    assert check.found.startswith("Redis ")


def test_a_redis_that_does_not_allow_info_is_a_note(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DQ_BROKER_URL", redis.url_without_dangerous())

    check = find("redis")

    assert check.state == "note"
    assert "without the right to INFO" in check.found


def test_a_redis_that_refuses_messages_fails_with_its_own_message(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DQ_BROKER_URL", redis.url)
    redis.client().config_set("min-replicas-to-write", 1)

    check = find("redis")

    assert check.state == "fail"
    assert check.found == "Redis refuses: NOREPLICAS Not enough good replicas to write"
    assert check.fix == "put that right on the side of Redis"


@pytest.mark.parametrize(("oldest", "state"), [(REVISION, "note"), ("9998", "fail")])
def test_a_database_of_a_newer_dq_is_a_note_if_this_dq_can_use_it(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch, oldest: str, state: str
):
    monkeypatch.setenv("DQ_DATABASE_URL", empty_database_url)
    database = Database(Settings().sql_url)
    schema.upgrade(database)
    with database.writing() as session:
        session.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
        session.execute(text(f"UPDATE compatibility SET oldest_revision = '{oldest}'"))

    check = find("database")

    assert (check.state, check.fix) == (state, "install the dq that made it")
    assert check.found.endswith("at revision 9999, a newer dq's")


def test_a_configured_database_that_nobody_migrated_fails(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DQ_DATABASE_URL", empty_database_url)

    check = find("database")

    assert (check.state, check.fix) == ("fail", "dq db upgrade")


def test_every_data_set_that_is_present_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DQ_DATA_DIR", str(tmp_path))
    (tmp_path / "fashion-mnist").mkdir()
    (tmp_path / "fashion-mnist" / "train-labels-idx1-ubyte.gz").write_bytes(b"<html>")

    check = next(check for check in doctor.check_all() if check.name == "data")

    assert check.state == "fail"
    assert check.found == (f"mnist is not complete, fashion-mnist is damaged in {tmp_path}")
    assert check.fix == "dq data fetch mnist; dq data fetch fashion-mnist, or set DQ_DATA_DIR"
