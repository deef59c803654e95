"""What a command works with: the settings, the database and the broker."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement

from models.database import Database
from models.settings import Settings
from service.jobs.broker import Broker
from service.operations.schema import open_database
from service.queries.selectors import resolve_selectors


@dataclass(frozen=True)
class Context:
    """The settings, and the database and the broker that they name."""

    settings: Settings
    database: Database

    @property
    def broker(self) -> Broker:
        """The client's end of the queue."""
        return Broker(self.settings)

    def find_jobs(self, selectors: Sequence[str], where: str | None = None) -> ColumnElement[bool]:
        """Return the SQL condition for the selected jobs; raise UsageError if some do not exist."""
        return resolve_selectors(self.database, selectors, where)


def open_context() -> Context:
    """Read the settings, and open the database that they name."""
    settings = Settings.load()
    return Context(settings, open_database(settings))


def find_database() -> Database | None:
    """Return the database, unless it is dq's own and there is none yet."""
    settings = Settings.load()
    if settings.is_database_embedded and not (settings.home / "dq.sqlite").exists():
        return None
    return open_context().database
