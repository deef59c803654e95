"""Sends the messages of queued jobs to Redis, and says whether Redis may have lost some."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from celery import Celery
from kombu.exceptions import KombuError
from redis import Redis
from redis.exceptions import RedisError, ResponseError

from models.message import QUEUE, JobMessage, publish
from models.redis_errors import explain_redis_error

#: The key that marks the Redis to which all queued jobs were published; its value is the run id.
_MARKER = "dq:published-in"
_UNKNOWN = b"unknown"


class Publisher:
    """The queue in Redis. Every method raises BrokerUnreachable if Redis does not serve it."""

    def __init__(self, app: Celery, redis: Redis) -> None:
        self._app, self._redis = app, redis

    def publish(self, messages: Iterable[JobMessage]) -> None:
        """Send the messages."""
        with _translating_errors():
            publish(self._app, messages)

    def count_waiting(self) -> int:
        """Return how many messages wait; if none, a queued job's message must have been lost."""
        with _translating_errors(), self._app.connection_for_write() as connection:
            # Not passive: kombu would look for the queue without our key prefix, in vain.
            return int(connection.default_channel.queue_declare(QUEUE).message_count)

    def may_have_lost_messages(self) -> bool:
        """Whether Redis was wiped or restarted since `mark_complete`.

        If Redis does not show its run id, a restart goes unnoticed. Its append-only file may then
        lose a second's messages, which are sent again once the queue is empty.
        """
        with _translating_errors():
            marker, run_id = self._redis.get(_MARKER), self._run_id()
            return marker is None or (run_id is not None and marker != run_id)

    def mark_complete(self) -> None:
        """Note in this Redis that the messages of all queued jobs were sent to it."""
        with _translating_errors():
            self._redis.set(_MARKER, self._run_id() or _UNKNOWN)

    def _run_id(self) -> bytes | None:
        """Return the id of the server's run, new at each start; None if INFO is not allowed."""
        try:
            return str(self._redis.info("server")["run_id"]).encode()
        except (ResponseError, KeyError):
            return None


@contextmanager
def _translating_errors() -> Iterator[None]:
    try:
        yield
    except (KombuError, RedisError, OSError) as error:
        raise explain_redis_error(error) from error
