from pathlib import Path

import pytest
from pydantic import ValidationError
from sqlalchemy import make_url

from models.errors import UsageError
from models.settings import Settings

NAMES = [f"DQ_{field.upper()}" for field in Settings.model_fields]


def test_with_a_home_alone_database_and_redis_are_the_embedded_ones(home):
    settings = Settings.load()

    assert settings.is_database_embedded
    assert settings.is_broker_embedded
    assert settings.sql_url == f"sqlite:///{home}/dq.sqlite"
    assert settings.checkpoints == home / "checkpoints"


def test_an_empty_variable_counts_as_unset(monkeypatch):
    for name in NAMES:
        monkeypatch.setenv(name, "")

    settings = Settings.load()

    assert settings.is_database_embedded
    assert settings.home.is_absolute()


def test_an_unknown_name_is_refused_and_the_known_ones_are_named(monkeypatch):
    monkeypatch.setenv("DQ_BROKER", "redis://elsewhere")

    with pytest.raises(UsageError) as refusal:
        Settings.load()

    assert "Unknown setting DQ_BROKER." in str(refusal.value)
    assert all(name in str(refusal.value) for name in NAMES)


@pytest.mark.parametrize("value", ["x", "-1", "0", "0.5", "nan", "inf", "86401", "1e14"])
def test_a_bad_value_is_refused_with_the_name_of_its_variable(monkeypatch, value):
    monkeypatch.setenv("DQ_LEASE_SECONDS", value)

    with pytest.raises(UsageError, match=f"DQ_LEASE_SECONDS={value}: "):
        Settings.load()


@pytest.mark.parametrize(
    "url",
    [
        "nonsense",
        "mysql://host/dq",
        "sqlite://",
        "postgresql://user:secret@host:port/dq",
    ],
)
def test_a_database_that_dq_cannot_use_is_refused_with_the_name_of_its_variable(monkeypatch, url):
    monkeypatch.setenv("DQ_DATABASE_URL", url)

    with pytest.raises(UsageError, match="DQ_DATABASE_URL") as refusal:
        Settings.load()

    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize(
    "url", ["nonsense", "http://host", "redis://:secret@host:port/0", "redis://:secret@host:1/x"]
)
def test_a_broker_that_dq_cannot_use_is_refused_with_the_name_of_its_variable(monkeypatch, url):
    monkeypatch.setenv("DQ_BROKER_URL", url)

    with pytest.raises(UsageError, match="DQ_BROKER_URL") as refusal:
        Settings.load()

    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("postgres://dq:secret@host/dq", "postgresql+psycopg://dq:secret@host/dq"),
        ("postgresql://dq@host:5433/dq", "postgresql+psycopg://dq@host:5433/dq"),
        ("postgresql+psycopg://host/dq", "postgresql+psycopg://host/dq"),
        ("postgresql://dq:a%40b@host/dq?sslmode=require", None),
        ("sqlite:////data/dq.sqlite", "sqlite:////data/dq.sqlite"),
    ],
)
def test_postgresql_is_reached_by_psycopg_however_its_url_is_written(monkeypatch, given, wanted):
    monkeypatch.setenv("DQ_DATABASE_URL", given)

    url = Settings.load().sql_url

    assert url == (wanted or given.replace("postgresql:", "postgresql+psycopg:"))


@pytest.mark.parametrize("name", ["DQ_HOME", "DQ_DATA_DIR", "DQ_CHECKPOINT_DIR"])
def test_a_relative_folder_is_taken_from_where_dq_was_started(monkeypatch, tmp_path, name):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(name, "folder/inside")

    settings = Settings.load()

    field = name.removeprefix("DQ_").lower()
    assert getattr(settings, field) == tmp_path / "folder" / "inside"


def test_a_tilde_is_the_users_home(monkeypatch):
    monkeypatch.setenv("DQ_HOME", "~/experiments")

    assert Settings.load().home == Path.home() / "experiments"


@pytest.mark.parametrize("name", ["a b", "50%25", "what?", "c#1", "größe"])
def test_the_embedded_database_lies_in_the_home_whatever_that_is_called(
    monkeypatch, tmp_path, name
):
    monkeypatch.setenv("DQ_HOME", str(tmp_path / name))

    url = make_url(Settings.load().sql_url)

    assert url.database == str(tmp_path / name / "dq.sqlite")


@pytest.mark.parametrize(
    ("url", "password", "whole"),
    [
        ("postgresql://dq@db:5432/dq", "plain", "postgresql+psycopg://dq:plain@db:5432/dq"),
        ("postgres://dq@db/dq?sslmode=require", "a/b@c:d%e #", None),
        ("postgresql://dq@/dq?host=/pg", "9secret", "postgresql+psycopg://dq:9secret@/dq?host=/pg"),
    ],
)
def test_a_database_password_may_lie_in_a_file_whatever_it_is(
    monkeypatch, tmp_path, url, password, whole
):
    (tmp_path / "password").write_text(f"{password}\n")
    monkeypatch.setenv("DQ_DATABASE_URL", url)
    monkeypatch.setenv("DQ_DATABASE_PASSWORD_FILE", str(tmp_path / "password"))

    settings = Settings.load()

    assert make_url(settings.sql_url).password == password
    assert whole in (None, settings.sql_url)
    assert password not in repr(settings)


def test_a_redis_password_may_lie_in_a_file(monkeypatch, tmp_path):
    (tmp_path / "password").write_text("a/b@c")
    monkeypatch.setenv("DQ_BROKER_URL", "rediss://redis:6379/0?ssl_ca_certs=/ca.pem")
    monkeypatch.setenv("DQ_BROKER_PASSWORD_FILE", str(tmp_path / "password"))

    url = Settings.load().redis_url

    assert url == "rediss://:a%2Fb%40c@redis:6379/0?ssl_ca_certs=/ca.pem&ssl_cert_reqs=required"


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("rediss://redis:6379/0", "rediss://redis:6379/0?ssl_cert_reqs=required"),
        ("rediss://redis/0?ssl_cert_reqs=none", "rediss://redis/0?ssl_cert_reqs=none"),
        ("redis://redis:6379/0", "redis://redis:6379/0"),
    ],
)
def test_over_tls_a_redis_must_show_a_certificate_unless_its_url_says_otherwise(
    monkeypatch, given, used
):
    monkeypatch.setenv("DQ_BROKER_URL", given)

    assert Settings.load().redis_url == used


def test_a_password_file_without_a_url_leaves_the_embedded_ones(monkeypatch, tmp_path):
    monkeypatch.setenv("DQ_BROKER_PASSWORD_FILE", str(tmp_path / "none"))

    assert Settings.load().redis_url == ""


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"", "is empty: write the secret into it"),
        (b" \n", "is empty: write the secret into it"),
        (b"\xff\xfe", "cannot be read: it is no text"),
    ],
)
def test_a_password_file_without_a_password_is_an_error_that_names_the_file(
    monkeypatch, tmp_path, content, error
):
    if content is not None:
        (tmp_path / "password").write_bytes(content)
    monkeypatch.setenv("DQ_DATABASE_URL", "postgresql://dq@db/dq")
    monkeypatch.setenv("DQ_DATABASE_PASSWORD_FILE", str(tmp_path / "password"))

    with pytest.raises(UsageError, match="DQ_DATABASE_PASSWORD_FILE") as refusal:
        _ = Settings.load().sql_url

    assert f"{tmp_path}/password {error}" in str(refusal.value)


def test_two_passwords_for_one_server_are_an_error_that_shows_neither(monkeypatch, tmp_path):
    (tmp_path / "password").write_text("one")
    monkeypatch.setenv("DQ_BROKER_URL", "redis://:other@redis:6379/0")
    monkeypatch.setenv("DQ_BROKER_PASSWORD_FILE", str(tmp_path / "password"))

    with pytest.raises(UsageError, match=r"DQ_BROKER_URL holds a password.*unset one") as refusal:
        _ = Settings.load().redis_url

    assert "other" not in str(refusal.value)


def test_settings_are_frozen():
    settings = Settings.load()

    with pytest.raises(ValidationError, match="frozen"):
        settings.lease_seconds = 1


def test_every_setting_has_a_description():
    assert all(field.description for field in Settings.model_fields.values())
