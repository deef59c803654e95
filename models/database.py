"""Transactions on the SQL database, the same on SQLite and PostgreSQL."""

import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    Insert,
    create_engine,
    event,
    false,
    inspect,
    make_url,
    select,
    text,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session

from models.database_errors import display_url, explain, interpret
from models.errors import DatabaseUnreachable, SchemaOutdated
from models.postgres import make_engine
from models.tables import REVISION, VERSION_TABLE, Base, Compatibility, Job

#: How long a process waits for another that writes SQLite's file, and between two tries.
_BUSY_SECONDS, _RETRY_SECONDS = 10.0, 0.01
#: PostgreSQL refuses it where it would refuse a real change: a read-only database, a missing right.
_CHANGE_NOTHING = update(Job).where(false()).values(priority=Job.priority)


class Database:
    """The database at one URL; it connects at the first transaction."""

    def __init__(self, url: str) -> None:
        self.url = make_url(url)

    @property
    def name(self) -> str:
        """The URL without its passwords."""
        return display_url(self.url)

    @property
    def is_sqlite(self) -> bool:
        """Whether this is a local file, which one process at a time may write."""
        return self.url.get_backend_name() == "sqlite"

    @cached_property
    def engine(self) -> Engine:
        """The connection pool."""
        return _sqlite_engine(self.url) if self.is_sqlite else make_engine(self.url)

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """Open a transaction that commits at the end; raise DatabaseUnreachable if that fails."""
        with (
            self.explaining_errors(),
            Session(self.engine, expire_on_commit=False) as session,
            session.begin(),
        ):
            yield session

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Open a transaction that reads one snapshot and blocks no writer."""
        options = {} if self.is_sqlite else {"isolation_level": "REPEATABLE READ"}
        engine = self.engine.execution_options(reads_only=True, **options)
        with self.explaining_errors(), Session(engine) as session:
            yield session

    def check_schema(self) -> None:
        """Raise SchemaOutdated unless this version of dq can work with the tables."""
        if self.is_compatible():
            return
        found = self.revision()
        fix = "Install the dq that made it" if found and found > REVISION else "Type: dq db upgrade"
        raise SchemaOutdated(
            f"The database {self.name} is at revision {found or 'none'}, "
            f"this dq wants {REVISION}. {fix}"
        )

    def is_compatible(self) -> bool:
        """Whether the tables are this dq's, or a newer dq's that this one can use."""
        found = self.revision()
        if found is None or found <= REVISION:
            return found == REVISION
        with self.reading() as session:
            oldest = session.scalar(select(Compatibility.oldest_revision))
        return oldest is not None and oldest <= REVISION

    def revision(self) -> str | None:
        """Return the migration revision of the tables, or None for a database without them."""
        with self.reading() as session:
            if not inspect(session.connection()).has_table(VERSION_TABLE):
                return None
            found = session.execute(text(f"SELECT version_num FROM {VERSION_TABLE}"))
            return found.scalar_one_or_none()

    @property
    def encoding(self) -> str:
        """How the database keeps text: UTF8, or what its owner chose instead."""
        if self.is_sqlite:
            return "UTF8"
        with self.reading() as session:
            return str(session.scalar(text("SHOW server_encoding")))

    def check_writable(self) -> None:
        """Raise DatabaseUnreachable unless it takes writes; change nothing."""
        with self.writing() as session:
            session.execute(_CHANGE_NOTHING)

    @contextmanager
    def explaining_errors(self) -> Iterator[None]:
        """Raise DatabaseUnreachable or ValueRefused where the driver fails."""
        try:
            yield
        except PoolTimeoutError as error:
            raise DatabaseUnreachable(f"The database {self.name} is busy: {error}") from error
        except DBAPIError as error:
            if (meaning := interpret(error)) is None:
                raise
            if meaning.is_stale:  # as after a fail-over: the next connection may reach the primary
                self.engine.dispose()
            raise explain(meaning, error, self.url) from error


def insert_missing(session: Session, table: type[Base]) -> Insert:
    """Return the insertion of rows of which some, by their primary key, may be there already."""
    insert = _INSERTS[session.get_bind().dialect.name]
    return insert(table).on_conflict_do_nothing()


_Insert = Callable[[type[Base]], postgresql.Insert | sqlite.Insert]
_INSERTS: Mapping[str, _Insert] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}


def _sqlite_engine(url: URL) -> Engine:
    folder = Path(str(url.database)).parent
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise DatabaseUnreachable(f"{folder} cannot be made: {error}", "Set DQ_HOME") from error
    engine = create_engine(url, connect_args={"timeout": _BUSY_SECONDS, "isolation_level": None})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    _switch_to_wal(connection)
    for pragma in ("synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _switch_to_wal(connection: Any) -> None:
    """Keep the journal of a file as WAL; processes that open a new file at once take turns.

    SQLite's own timeout does not hold here: two that switch would wait for each other.
    """
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(_RETRY_SECONDS)
        else:
            return


def _begin_sqlite(connection: Connection) -> None:
    # Else a transaction that reads first and writes later fails, or acts on an old state.
    reads_only = connection.get_execution_options().get("reads_only")
    connection.exec_driver_sql("BEGIN" if reads_only else "BEGIN IMMEDIATE")
