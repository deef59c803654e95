"""Redis, as the worker rings it: a bell for each queued job, and whether it still has them all."""

from collections.abc import Iterable

from celery import Celery
from kombu.exceptions import KombuError
from redis import Redis
from redis.exceptions import RedisError

from models.errors import BrokerUnreachable
from models.message import QUEUE, Bell, send

#: Holds the run id of the Redis that the queued jobs were last rung in.
_MARKER = "dq:rung-in"


class Doorbell:
    """The queue in Redis. Every method raises BrokerUnreachable if Redis does not answer."""

    def __init__(self, app: Celery, redis: Redis) -> None:
        self._app, self._redis = app, redis

    def ring(self, bells: Iterable[Bell]) -> None:
        """Send the messages."""
        try:
            send(self._app, bells)
        except (KombuError, RedisError, OSError) as error:
            raise _unreachable(error) from error

    def is_empty(self) -> bool:
        """Whether no message waits, so that a queued job's message must have been lost."""
        try:
            with self._app.connection_for_write() as connection:
                # Not passive: kombu would look for the queue without our key prefix, in vain.
                waiting = connection.default_channel.queue_declare(QUEUE)
            return bool(waiting.message_count == 0)
        except (KombuError, RedisError, OSError) as error:
            raise _unreachable(error) from error

    def forgets(self) -> bool:
        """Whether Redis was wiped or restarted since `remember`, and may have lost messages."""
        try:
            return self._redis.get(_MARKER) != self._run_id()
        except (RedisError, OSError) as error:
            raise _unreachable(error) from error

    def remember(self) -> None:
        """Note that every queued job is, or is about to be, rung in this Redis."""
        try:
            self._redis.set(_MARKER, self._run_id())
        except (RedisError, OSError) as error:
            raise _unreachable(error) from error

    def _run_id(self) -> bytes:
        return str(self._redis.info("server")["run_id"]).encode()


def _unreachable(error: Exception) -> BrokerUnreachable:
    return BrokerUnreachable(f"Redis does not answer: {error}")
