"""`dq db`: the database's tables."""

import click

from models.settings import Settings
from service.cli.output import field_table, format_option, print_message, print_table
from service.reports.table import Format


@click.group
def command() -> None:
    """Migrate, check or repair the database."""


@command.command
def upgrade() -> None:
    """Bring the tables to this version of dq; several may do so at once."""
    from models.database import Database
    from service.operations.schema import upgrade as bring_up

    database = Database(Settings.load().sql_url)
    before = database.revision()
    bring_up(database)
    after = database.revision()
    print_message(
        f"{database.name}: {before or 'empty'} -> {after}" if before != after else "Up to date."
    )


@command.command
@format_option
def current(*, format: Format) -> None:
    """Print the revision of the tables, and the one that this dq needs."""
    from models.database import Database
    from models.tables import REVISION

    database = Database(Settings.load().sql_url)
    facts = {"database": database.name, "revision": database.revision(), "wanted": REVISION}
    print_table(field_table(facts), format)


@command.command
def check() -> None:
    """Exit with 3 unless the tables are those of this version of dq."""
    from models.database import Database

    database = Database(Settings.load().sql_url)
    database.check_schema()
    print_message(f"{database.name} is up to date.")


@command.command
@format_option
def reconcile(*, format: Format) -> None:
    """Repair once what crashes left behind, as every worker does all the time."""
    from models.embedded_redis import EmbeddedRedis
    from service.operations.schema import open_database
    from service.operations.worker_program import ask

    settings = Settings.load()
    open_database(settings)
    if settings.is_broker_embedded:
        EmbeddedRedis(settings.home).ensure_running()
    print_table(field_table(ask(["reconcile"])), format)
