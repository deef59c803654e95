"""PgBouncer in transaction mode, which gives each transaction to any of its connections."""

import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
import pytest

from integration import rows
from models.database import Database
from models.errors import DatabaseRefused
from models.settings import Settings
from servers import PostgresServer, Server, short_folder
from worker.execution.recorder import AttemptUpdate, Recorder

LIMITS = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
#: Debian puts it where only root looks.
PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
pytestmark = pytest.mark.skipif(
    PROGRAM is None,
    reason="pgbouncer is not installed: apt-get install pgbouncer",
)


class PgBouncer(Server):
    """A pooler on a unix socket, with fewer connections than the test has clients."""

    def begin(self, postgres: PostgresServer, ignored: str) -> None:
        (self.folder / "pgbouncer.ini").write_text(
            f"""
            [databases]
            * = host={postgres.folder} user=dq
            [pgbouncer]
            listen_addr =
            unix_socket_dir = {self.folder}
            auth_type = any
            pool_mode = transaction
            default_pool_size = 2
            ignore_startup_parameters = {ignored}
            """
        )
        self._spawn([PROGRAM, self.folder / "pgbouncer.ini"], **self._identity)

    def url(self, database: str) -> str:
        return f"postgresql://dq@/{database}?host={self.folder}&port=6432"

    def _is_ready(self) -> bool:
        try:
            psycopg.connect(self.url("migrated")).close()
        except psycopg.OperationalError:
            return False
        return True


@pytest.fixture(params=["", "options"], ids=["refusing", "ignoring"])
def pooler(postgres: PostgresServer, request: pytest.FixtureRequest) -> Iterator[PgBouncer]:
    """A pooler that refuses a client's `options`, and one that ignores them, as many are set."""
    with short_folder("dq-pool-") as folder:
        pooler = PgBouncer(folder)
        pooler.begin(postgres, request.param)
        try:
            yield pooler
        finally:
            pooler.stop()


@contextmanager
def opened(url: str) -> Iterator[Database]:
    database = Database(Settings(database_url=url).sql_url)
    try:
        yield database
    finally:
        database.engine.dispose()


def test_jobs_run_through_a_pooler_that_keeps_no_session(
    postgres: PostgresServer, pooler: PgBouncer
):
    postgres.clear("migrated")

    def work(number: int) -> None:
        with opened(pooler.url("migrated")) as database:
            recorder = Recorder(database, f"cpu{number}-1@here", 30)
            for _ in range(8):
                claim = rows.claim(recorder, rows.submit_one(database))
                rows.begin(recorder, claim, rows.PROVENANCE, 0)
                rows.succeed(recorder, claim, AttemptUpdate(rows.measured_all()))

    with ThreadPoolExecutor() as threads:
        list(threads.map(work, range(6)))

    with opened(pooler.url("migrated")) as database:
        assert rows.states(database, range(1, 49)) == ["succeeded"] * 48


def test_through_a_pooler_each_transaction_has_its_limits_and_leaves_none_behind(
    postgres: PostgresServer, pooler: PgBouncer
):
    with opened(pooler.url("migrated")) as database:
        for open_transaction in (database.reading, database.writing):
            with open_transaction() as session:
                driver = session.connection().connection.driver_connection
                limits = [driver.execute(f"SHOW {name}").fetchone()[0] for name in LIMITS]
            assert limits == ["20s", "10s", "20s"]

    with psycopg.connect(pooler.url("migrated"), autocommit=True) as another:
        left = [another.execute(f"SHOW {name}").fetchone() for name in LIMITS]
    assert left == [("0",)] * 3


def test_a_schema_that_a_pooler_would_forget_is_refused_with_what_to_type(
    postgres: PostgresServer, pooler: PgBouncer
):
    url = f"{pooler.url('migrated')}&options=-csearch_path%3Dlab"

    with (
        opened(url) as database,
        pytest.raises(DatabaseRefused, match="does not pass on -csearch_path=lab") as raised,
    ):
        database.revision()

    assert raised.value.fix.endswith("ALTER ROLE dq SET search_path = lab")
