"""The servers that are measured: with their default settings, not the fast ones of tests."""

from collections.abc import Iterator
from contextlib import contextmanager

from models.database import Database
from models.embedded_redis import find_server
from models.settings import Settings
from service.operations.schema import upgrade
from tests.servers import PostgresServer, RedisServer, short_folder


class StockPostgres(PostgresServer):
    """PostgreSQL with its default settings: it waits for the disk, and autovacuum runs."""

    def start(self) -> None:
        """Start it on a unix socket alone."""
        command = [self._binaries / "postgres", "-D", self.folder / "data", "-k", self.folder]
        self._spawn([*command, "-c", "listen_addresses="], **self._identity)


class DurableRedis(RedisServer):
    """Redis as dq and its compose file start it: with an append-only file."""

    def start(self) -> None:
        """Start it on a unix socket alone."""
        command = [find_server(), "--port", "0", "--unixsocket", self.socket, "--dir", self.folder]
        self._spawn([*command, "--appendonly", "yes", "--maxmemory-policy", "noeviction"])


@contextmanager
def open_postgres() -> Iterator[tuple[PostgresServer, Settings]]:
    """Run a PostgreSQL that holds dq's tables, empty, in the database `dq`; on disk."""
    with short_folder("dq-bench-") as folder:
        server = StockPostgres(folder)
        server.initialise()
        server.start()
        try:
            yield server, make_tables(server)
        finally:
            server.stop()


@contextmanager
def open_redis() -> Iterator[RedisServer]:
    """Run a Redis."""
    with short_folder("dq-bench-") as folder:
        server = DurableRedis(folder)
        server.start()
        try:
            yield server
        finally:
            server.stop()


def make_tables(server: PostgresServer) -> Settings:
    """Create the database `dq` and its tables; return the settings that name it."""
    server.create("dq")
    settings = Settings(database_url=server.url("dq"))
    database = Database(settings.sql_url)
    upgrade(database)
    database.engine.dispose()
    return settings
