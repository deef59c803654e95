"""The three set-ups of dq: embedded, on servers of one's own, and in containers."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from acceptance.conftest import Terminal, open_terminal
from chaos.stack import DurableRedis
from compose.stack import open_stack, why_no_engine
from servers import PostgresServer, short_folder, wait_until


@contextmanager
def open_embedded(_: pytest.FixtureRequest) -> Iterator[Terminal]:
    """Open a terminal beside which `dq up` runs."""
    with open_terminal() as terminal:
        terminal.start("up.log", "up", "--workers", "1")
        yield terminal


@contextmanager
def open_on_servers(request: pytest.FixtureRequest) -> Iterator[Terminal]:
    """Open a terminal with a Redis, a PostgreSQL and a worker, which know nothing of each other."""
    postgres: PostgresServer = request.getfixturevalue("postgres")
    postgres.create("everywhere")
    with short_folder("dq-redis-") as folder:
        redis = DurableRedis(folder)
        redis.start()
        urls = {"DQ_BROKER_URL": redis.url, "DQ_DATABASE_URL": postgres.url("everywhere")}
        try:
            with open_terminal(**urls) as terminal:
                assert terminal.dq("db", "upgrade").returncode == 0
                terminal.start("worker.log", "worker", "--device", "cpu", "--workers", "1")
                yield terminal
        finally:
            redis.stop()
            postgres.drop("everywhere")


@contextmanager
def open_in_containers(_: pytest.FixtureRequest) -> Iterator[Terminal]:
    """Open a terminal on the host of docker-compose.yml's containers, with the two variables."""
    if why := why_no_engine():
        pytest.skip(f"no stack here: {why}")
    with open_stack("worker-cpu") as stack, open_terminal(**stack.settings) as terminal:
        wait_until(lambda: terminal.data("workers"), "the worker runs", seconds=90)
        yield terminal
