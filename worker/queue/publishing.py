"""Sends the messages of queued jobs to Redis, and tells whether Redis may have lost some."""

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
        with _reached():
            publish(self._app, messages)

    def count_waiting(self) -> int:
        """Return how many messages wait; if none, a queued job's message must have been lost."""
        with _reached(), self._app.connection_for_write() as connection:
            # Not passive: kombu would look for the queue without our key prefix, in vain.
            return int(connection.default_channel.queue_declare(QUEUE).message_count)

    def may_have_lost_messages(self) -> bool:
        """Whether Redis was wiped or restarted since `mark_complete`, and may have lost messages.

        A Redis that keeps its run id to itself hides a restart, in which its append-only file may
        lose a second. Such messages are sent again once the queue is empty.
        """
        with _reached():
            marker, run_id = self._redis.get(_MARKER), self._run_id()
            return marker is None or (run_id is not None and marker != run_id)

    def mark_complete(self) -> None:
        """Note that every queued job is, or is about to be, republished in this Redis."""
        with _reached():
            self._redis.set(_MARKER, self._run_id() or _UNKNOWN)

    def _run_id(self) -> bytes | None:
        """Return what is new whenever the server starts; None where INFO is not allowed."""
        try:
            return str(self._redis.info("server")["run_id"]).encode()
        except (ResponseError, KeyError):
            return None


@contextmanager
def _reached() -> Iterator[None]:
    try:
        yield
    except (KombuError, RedisError, OSError) as error:
        raise explain_redis_error(error) from error
