"""`dq db`: the database's tables."""

import click

from models.database import Database
from models.embedded_redis import EmbeddedRedis
from models.settings import Settings
from models.tables import REVISION
from service.cli.context import open_context
from service.cli.output import field_table, format_option, print_message, print_table
from service.operations import schema, worker_program
from service.reports.table import Format


@click.group
def command() -> None:
    """Migrate, check or repair the database."""


@command.command
def upgrade() -> None:
    """Bring the tables to this version of dq; several may do so at once."""
    database = _find_database()
    before = database.revision()
    schema.upgrade(database)
    after = database.revision()
    print_message(
        f"{database.name}: {before or 'empty'} -> {after}" if before != after else "Up to date."
    )


@command.command
@format_option
def current(*, format: Format) -> None:
    """Print the revision of the tables, and the one that this dq needs."""
    database = _find_database()
    fields = {"database": database.name, "revision": database.revision(), "wanted": REVISION}
    print_table(field_table(fields), format)


@command.command
def check() -> None:
    """Exit with 3 unless the tables are those of this version of dq."""
    database = _find_database()
    database.check_schema()
    print_message(f"{database.name} is up to date.")


@command.command
@format_option
def reconcile(*, format: Format) -> None:
    """Repair once what crashes left behind, as every worker does all the time."""
    settings = open_context().settings
    if settings.is_broker_embedded:
        EmbeddedRedis(settings.home).ensure_running()
    print_table(field_table(worker_program.ask(["reconcile"])), format)


def _find_database() -> Database:
    """Return the configured database as it is, whichever tables it has."""
    return Database(Settings.load().sql_url)
