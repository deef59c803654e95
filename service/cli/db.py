"""`dq db`: the database's tables."""

import click

from models.database import Database
from models.embedded_redis import EmbeddedRedis
from models.settings import Settings
from models.tables import REVISION
from service.cli.bulk import changing, confirm_deletion
from service.cli.context import open_context
from service.cli.output import field_table, format_option, print_message, print_table
from service.cli.parameters import DURATION
from service.formatting import plural
from service.jobs import pruning
from service.jobs.pruning import prunable_condition
from service.operations import schema, worker_program
from service.queries.jobs import count_jobs
from service.reports.table import Format


@click.group
def command() -> None:
    """Migrate, check, repair or prune the database."""


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


@command.command
@click.option("--older-than", type=DURATION, required=True, help="Since their end: 90d.")
@click.option("--yes", is_flag=True, help="Do not ask; needed where nobody can be asked.")
def prune(*, older_than: float, yes: bool) -> None:
    """Delete the epochs but the last, and the logs, of old jobs: dq db prune --older-than 90d.

    Their results stay.
    """
    database = open_context().database
    which = prunable_condition(older_than)
    number = count_jobs(database, which)
    if number and not yes:
        confirm_deletion(f"The curves and logs of {plural(number, 'job')} will be deleted.")
    with changing(database, which, "pruned", yes=True) as show:
        pruned = pruning.prune(database, which, show)
    print_message(f"Pruned {plural(pruned, 'job')}." if pruned else "No job is so old.")


def _find_database() -> Database:
    """Return the configured database as it is, whichever tables it has."""
    return Database(Settings.load().sql_url)
