"""Sends messages to Redis, and counts those that wait there."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from celery import Celery
from kombu.exceptions import KombuError
from redis.exceptions import RedisError

from models.message import QUEUE, JobMessage, publish
from models.redis_errors import explain_redis_error


class Publisher:
    """The queue in Redis. Every method raises BrokerUnreachable if Redis does not serve it."""

    def __init__(self, app: Celery) -> None:
        self._app = app

    def publish(self, messages: Iterable[JobMessage]) -> None:
        """Send the messages."""
        with _translating_errors():
            publish(self._app, messages)

    def count_waiting(self) -> int:
        """Return how many messages wait."""
        with _translating_errors(), self._app.connection_for_write() as connection:
            # Not passive: kombu would look for the queue without our key prefix, in vain.
            return int(connection.default_channel.queue_declare(QUEUE).message_count)


@contextmanager
def _translating_errors() -> Iterator[None]:
    try:
        yield
    except (KombuError, RedisError, OSError) as error:
        raise explain_redis_error(error) from error
