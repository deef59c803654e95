"""What the tests of faults share: figures to compare with, and a PostgreSQL database."""

from collections.abc import Iterator

import pytest
from stage import LONG, Figures, Stage

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
def undisturbed() -> Figures:
    """The metrics of LONG, trained here without queue, database or fault."""
    import torch

    from worker.training import trainer
    from worker.training.data import load

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        data = load(LONG.dataset, "nowhere", "cpu")
        run = trainer.start(LONG, data, "cpu")
        return [
            (each.train_loss, each.train_accuracy, each.valid_loss, each.valid_accuracy)
            for each in trainer.train(LONG, run, data)
        ]
    finally:
        torch.set_num_threads(threads)
