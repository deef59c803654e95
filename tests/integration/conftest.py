from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import event
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from models.database import Database
from models.settings import Settings
from servers import RedisServer
from service.jobs.broker import Broker
from worker.execution.recorder import Recorder
from worker.queue.app import make_publisher
from worker.queue.publishing import Publisher
from worker.supervisor.reconciler import Reconciler

LEASE_SECONDS = 30.0
LostAnswer = Callable[[], AbstractContextManager[None]]


@pytest.fixture
def settings(database_url: str, redis: RedisServer, home: Path) -> Settings:
    return Settings(home=home, database_url=database_url, broker_url=redis.url)


@pytest.fixture
def broker(settings: Settings) -> Broker:
    return Broker(settings)


@pytest.fixture
def publisher(settings: Settings) -> Publisher:
    return make_publisher(settings)


@pytest.fixture
def reconciler(database: Database, publisher: Publisher) -> Reconciler:
    return Reconciler(database, publisher, LEASE_SECONDS)


@pytest.fixture
def recorder(database: Database) -> Recorder:
    return Recorder(database, "cpu0-1@here", LEASE_SECONDS)


@pytest.fixture
def other_recorder(database: Database) -> Recorder:
    return Recorder(database, "cpu1-1@here", LEASE_SECONDS)


@pytest.fixture
def losing_an_answer(monkeypatch: pytest.MonkeyPatch) -> LostAnswer:
    """Return what makes the next commit, within a `with`, look as if it failed."""
    monkeypatch.setattr("worker.execution.recorder._RETRY_SECONDS", 0.01)

    @contextmanager
    def losing() -> Iterator[None]:
        commits = []

        def lose(session: Session) -> None:
            commits.append(session)
            raise OperationalError("COMMIT", {}, Exception("the connection was lost"))

        event.listen(Session, "after_commit", lose, once=True)
        yield
        assert len(commits) == 1

    return losing
