"""Brings a database to the newest revision; several processes may do so at once."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, text

_HERE = Path(__file__).parent
_LOCK = 0x6471  # "dq": any number that no other program locks


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Apply the missing revisions, up to the one named, in one transaction under a lock."""
    with engine.begin() as connection:  # on SQLite BEGIN IMMEDIATE, which is the lock
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        command.upgrade(_config(connection), revision)


def _config(connection: Connection) -> Config:
    # The connection is an attribute: a URL in the options could not have a % in its password.
    config = Config()
    config.set_main_option("script_location", str(_HERE).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
