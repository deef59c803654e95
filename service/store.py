"""Opens the database as the client needs it: dq's own file is migrated by itself."""

from models.database import Database
from models.errors import SchemaOutdated
from models.settings import Settings


def open_database(settings: Settings) -> Database:
    """Return the configured database, whose tables this version of dq can work with.

    Raises SchemaOutdated, naming the command to type, if somebody else must migrate it.
    """
    database = Database(settings.sql_url)
    if not settings.is_database_embedded:
        database.check_schema()
    elif not database.fits():
        upgrade(database)
    return database


def upgrade(database: Database) -> None:
    """Bring the tables to the newest revision, or leave a newer dq's that spare this one."""
    from alembic.util import CommandError

    from migrations.upgrade import upgrade as apply

    if database.fits():
        return
    try:
        with database.reachable():
            apply(database.engine)
    except CommandError as error:
        raise SchemaOutdated(
            f"The database {database.name} was made by a newer dq ({error}). Install that one."
        ) from error
