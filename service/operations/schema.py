"""Opens the database as a client needs it: dq's own file is migrated by itself."""

import time
from collections.abc import Callable

from models.database import Database
from models.errors import DatabaseRefused, DatabaseUnreachable, SchemaOutdated
from models.settings import Settings

_RETRY_SECONDS = 1.0
USE_UTF8 = (
    "Type in psql: CREATE DATABASE dq_utf8 ENCODING 'UTF8' TEMPLATE template0; "
    "and name that in DQ_DATABASE_URL"
)


def open_database(settings: Settings) -> Database:
    """Return the configured database, whose tables this version of dq can work with.

    Raises SchemaOutdated, naming the command to type, if somebody else must migrate it.
    """
    database = Database(settings.sql_url)
    if not settings.is_database_embedded:
        database.check_schema()
    elif not database.is_compatible():
        upgrade(database)
    return database


def open_when_reachable(settings: Settings, report: Callable[[str], None]) -> Database:
    """Open the database as soon as it answers; report once why that takes a while."""
    is_reported = False
    while True:
        try:
            return open_database(settings)
        except DatabaseRefused:
            raise
        except DatabaseUnreachable as error:
            if not is_reported:
                report(f"{error}. Waiting until it answers.")
            is_reported = True
            time.sleep(_RETRY_SECONDS)


def upgrade(database: Database) -> None:
    """Migrate the tables to the newest revision, or leave a newer dq's that are compatible."""
    # Alembic takes 0.1 s to import, and hardly any command migrates.
    from alembic.util import CommandError  # noqa: PLC0415

    from migrations.upgrade import upgrade as migrate  # noqa: PLC0415

    if database.is_compatible():
        return
    if database.revision() is None and database.encoding != "UTF8":
        raise DatabaseRefused(
            f"The database {database.name} keeps text as {database.encoding}, dq needs UTF8",
            USE_UTF8,
        )
    try:
        with database.explaining_errors():
            migrate(database.engine)
    except CommandError as error:
        raise SchemaOutdated(
            f"The database {database.name} was made by a newer dq ({error}). Install that one."
        ) from error
