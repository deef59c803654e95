"""Bring a database to the newest revision; safe to run by several processes at once."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, text

_HERE = Path(__file__).parent
_LOCK = 0x6471  # "dq": any number that nobody else locks


def upgrade(engine: Engine) -> None:
    """Apply the missing revisions in one transaction, holding a lock against others."""
    with engine.begin() as connection:  # on SQLite BEGIN IMMEDIATE, which is the lock
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        command.upgrade(_config(connection), "head")


def _config(connection: Connection) -> Config:
    # The connection travels as an attribute: a URL in the ini would choke on % in a password.
    config = Config()
    config.set_main_option("script_location", str(_HERE).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
