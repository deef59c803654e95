"""PostgreSQL read-only for 15 s, as while another server takes over."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from stage import LONG, SHORT, Figures, Stage, open_stage

from models.spec import ExperimentSpec
from servers import PostgresServer

_OUTAGE_SECONDS = 15.0
_MOST_LINES = 100


@pytest.fixture(scope="module")
def stage(postgres_url: str) -> Iterator[Stage]:
    """Its lease is shorter than the outage."""
    with open_stage(url=postgres_url) as stage:
        stage.wait_for_end(stage.submit_one(SHORT))
        yield stage


@contextmanager
def read_only(postgres: PostgresServer) -> Iterator[None]:
    """Refuse writes in every transaction that begins, also in sessions that are open."""
    postgres.execute("ALTER SYSTEM SET default_transaction_read_only = on")
    postgres.execute("SELECT pg_reload_conf()")
    try:
        yield
    finally:
        postgres.execute("ALTER SYSTEM RESET default_transaction_read_only")
        postgres.execute("SELECT pg_reload_conf()")


def is_writable(stage: Stage) -> bool:
    with stage.database.reading() as session:
        driver = session.connection().connection.driver_connection
        return bool(driver.execute("SHOW default_transaction_read_only").fetchone() == ("off",))


def test_jobs_that_run_or_wait_while_the_database_is_read_only_all_end_well_with_few_lines(
    stage: Stage, postgres: PostgresServer, undisturbed: Callable[[ExperimentSpec], Figures]
):
    running = stage.submit_one(LONG)
    stage.wait_for_epochs(running)
    waiting = stage.submit(*[SHORT.model_copy(update={"seed": seed}) for seed in range(5)])
    before = len(stage.logs().splitlines())

    with read_only(postgres):
        stage.wait_until(lambda: not is_writable(stage), "it is read-only")
        time.sleep(_OUTAGE_SECONDS)
        doctor = stage.dq("doctor", "--ready", check=False)
    lines = stage.logs().splitlines()[before:]
    states = stage.wait_for_end(running, *waiting)

    assert states == ["succeeded"] * 6
    assert [stage.outcomes(job_id) for job_id in (running, *waiting)] == [["succeeded"]] * 6
    assert stage.figures(running) == undisturbed(LONG)
    assert len(lines) < _MOST_LINES, "\n".join(lines)
    assert any("is read-only" in line for line in lines)
    assert "heartbeat: works again after" in stage.logs()
    assert "Traceback" not in stage.logs()
    assert doctor.returncode == 1
    assert "is read-only" in doctor.stdout
