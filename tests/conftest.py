"""The fixtures of all tests: none of the developer's settings, and real servers at need."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from sqlalchemy import event

from migrations.upgrade import upgrade
from models.database import Database
from models.embedded_redis import EmbeddedRedis
from models.settings import Settings
from servers import (
    FAST_FOLDER,
    Outage,
    PostgresServer,
    RedisServer,
    delete_rows,
    locked_sqlite,
    short_folder,
)

settings.register_profile("busy", deadline=None)  # an example may take long on a busy host
settings.register_profile("thorough", max_examples=500, deadline=None)  # of `make faults`
settings.load_profile("busy")
#: The folders of the longest files, longest first.
LONG_FOLDERS = ("chaos", "acceptance", "integration", "unit")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put long files first, so that no core is idle at the end."""
    items.sort(key=_rank)


def _rank(item: pytest.Item) -> int:
    folder = item.path.relative_to(Path(__file__).parent).parts[0]
    return LONG_FOLDERS.index(folder) if folder in LONG_FOLDERS else -1


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give each test another DQ_HOME, of a short path, and none of the developer's settings.

    DQ_DATA_DIR alone is let through: it says where the real MNIST is.
    """
    for name in [*os.environ]:
        if name.startswith(("DQ_", "XDG_", "PG")) and name != "DQ_DATA_DIR":
            monkeypatch.delenv(name)
    monkeypatch.delenv("COLUMNS", raising=False)  # test runners set it
    with short_folder("dq-home-") as folder:
        monkeypatch.setenv("HOME", str(folder))
        monkeypatch.setenv("DQ_HOME", str(folder / "dq"))
        yield folder / "dq"
        embedded = EmbeddedRedis(folder / "dq")
        if embedded.socket.exists() and embedded.is_running():
            embedded.stop()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """The session's PostgreSQL, with a migrated database: `migrated`."""
    with short_folder("dq-pg-") as folder:
        server = PostgresServer(folder)
        server.initialise()
        server.start()
        try:
            server.create("migrated")
            _migrate(server.url("migrated"))
            yield server
        finally:
            server.stop()


@pytest.fixture(scope="session")
def migrated_sqlite() -> Iterator[str]:
    """The URL of the session's migrated SQLite file."""
    with short_folder("dq-sqlite-", FAST_FOLDER) as folder:
        url = f"sqlite:///{folder / 'dq.sqlite'}"
        _migrate(url)
        yield url


@pytest.fixture
def one_thread() -> Iterator[None]:
    """One thread of torch, as a CPU worker has."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def databases() -> Iterator[dict[str, Database]]:
    """The databases opened so far: an engine compiles its statements once, not once a test."""
    opened: dict[str, Database] = {}
    yield opened
    for database in opened.values():
        database.engine.dispose()


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    """A Redis of the test's own, to stop, start and wipe; it starts in 10 ms."""
    with short_folder("dq-redis-") as folder:
        server = RedisServer(folder)
        server.start()
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
def backend(request: pytest.FixtureRequest) -> str:
    """The kind of database; a test that asks for any of the fixtures below runs on both."""
    return request.param


@pytest.fixture
def empty_database_url(backend: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """The value of DQ_DATABASE_URL for a database without tables."""
    if backend == "sqlite":
        with short_folder("dq-sqlite-", FAST_FOLDER) as folder:
            yield f"sqlite:///{folder / 'dq.sqlite'}"
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    server.create("empty")
    try:
        yield server.url("empty")
    finally:
        server.drop("empty")


@pytest.fixture
def database_url(database: Database) -> str:
    """The value of DQ_DATABASE_URL for `database`."""
    return database.url.render_as_string(hide_password=False)


@pytest.fixture
def database(
    backend: str, databases: dict[str, Database], request: pytest.FixtureRequest
) -> Database:
    """A migrated database without rows."""
    if backend == "sqlite":
        url: str = request.getfixturevalue("migrated_sqlite")
    else:
        server: PostgresServer = request.getfixturevalue("postgres")
        server.end_transactions("migrated")
        url = server.url("migrated")
    database = databases.setdefault(url, Database(Settings(database_url=url).sql_url))
    delete_rows(database)
    return database


@pytest.fixture
def outage(backend: str, request: pytest.FixtureRequest) -> Outage:
    """Return what keeps a database from answering for the time of a `with`."""
    if backend == "sqlite":
        return _lock_out
    server: PostgresServer = request.getfixturevalue("postgres")

    @contextmanager
    def stop_server(_: Database) -> Iterator[None]:
        server.stop(signal.SIGQUIT)
        try:
            yield
        finally:
            server.start()

    return stop_server


@contextmanager
def _lock_out(database: Database) -> Iterator[None]:
    def be_impatient(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA busy_timeout = 50")

    event.listen(database.engine, "connect", be_impatient)
    database.engine.dispose()
    try:
        with locked_sqlite(Path(str(database.url.database))):
            yield
    finally:
        event.remove(database.engine, "connect", be_impatient)
        database.engine.dispose()


def _migrate(url: str) -> None:
    database = Database(Settings(database_url=url).sql_url)
    upgrade(database.engine)
    database.engine.dispose()
