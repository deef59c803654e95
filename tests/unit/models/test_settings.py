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


@pytest.mark.parametrize("value", ["x", "-1", "0", "0.5", "nan", "inf"])
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


def test_settings_are_frozen():
    settings = Settings.load()

    with pytest.raises(ValidationError, match="frozen"):
        settings.lease_seconds = 1


def test_every_setting_has_a_description():
    assert all(field.description for field in Settings.model_fields.values())
