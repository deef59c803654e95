"""What the tests of faults share: figures to compare with, and a PostgreSQL database."""

from collections.abc import Callable, Iterator
from functools import cache

import pytest
from stage import Stage

from chaos.figures import Figures, train_undisturbed
from models.spec import ExperimentSpec
from servers import PostgresServer


@pytest.fixture(scope="module")
def postgres_url(postgres: PostgresServer) -> Iterator[str]:
    """The URL of a database of the module's own."""
    postgres.create("faults")
    yield postgres.url("faults")
    postgres.drop("faults")


@pytest.fixture(autouse=True)
def leave_no_job_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let no job of a test that failed keep the worker from the next test's."""
    stage: Stage = request.getfixturevalue("stage")
    yield
    stage.ask_to_cancel_all()


@pytest.fixture(scope="session")
def undisturbed() -> Callable[[ExperimentSpec], Figures]:
    """Return what trains a spec here, without queue, database or fault."""
    return cache(train_undisturbed)
