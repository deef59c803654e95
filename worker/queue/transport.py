"""A Redis transport that survives malformed items in the queue, and outages of Redis.

kombu 5.7 lets an item that is no message (no JSON, a scalar, bad base64) or a command that Redis
refuses (it is full, or a replica) end the whole worker, and make it take no further message if
Redis dies between a message's arrival and its acknowledgement.
"""

import logging
from queue import Empty
from typing import Any

from kombu.message import Message
from kombu.transport import TRANSPORT_ALIASES, redis, virtual
from redis.exceptions import RedisError

from worker.throttled_log import ThrottledLog

logger = logging.getLogger(__name__)
#: Trouble that keeps this process from taking messages; over once Redis lets it ask for one.
redis_log = ThrottledLog(logger, "Redis")


class QoS(redis.QoS):
    """Counts the messages taken and not yet acknowledged; at the limit no more are asked for.

    A message that Redis fails to note is counted here all the same. If the count stayed too high,
    no other message would be asked for, and the trouble would go unnoticed.
    """

    def append(self, message: Message, delivery_tag: str) -> None:
        """Count a message that was taken."""
        try:
            super().append(message, delivery_tag)  # type: ignore[no-untyped-call] # kombu
        except (RedisError, OSError) as error:
            logger.debug("Redis did not note that a message was taken: %r", error)
            virtual.QoS.append(self, message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        """Acknowledge a message, which no longer counts."""
        try:
            super().ack(delivery_tag)  # type: ignore[no-untyped-call] # kombu
        except (RedisError, OSError) as error:
            logger.debug("an acknowledged message will come again: %r", error)
            virtual.QoS.ack(self, delivery_tag)


class Channel(redis.Channel):
    """A channel that drops what it cannot decode, with one line in the log."""

    QoS = QoS
    _shared: Any = None

    def _create_client(self, asynchronous: bool = False) -> Any:
        """Return one client for all commands; one for each, as kombu makes, takes longer."""
        if asynchronous:
            return super()._create_client(asynchronous=True)  # type: ignore[no-untyped-call] # kombu
        if self._shared is None or self._shared.connection_pool is not self.pool:
            self._shared = super()._create_client()  # type: ignore[no-untyped-call] # kombu
        return self._shared

    def _brpop_read(self, **options: Any) -> Any:
        try:
            read = super()._brpop_read(**options)  # type: ignore[no-untyped-call] # kombu
        except Empty:
            redis_log.recover()
            raise
        except Exception as error:
            # kombu counts a KeyError, which a malformed item raises, among these.
            if isinstance(error, self.connection_errors) and not isinstance(error, KeyError):
                raise
            logger.warning("dropped an item that is no message: %r", error)
            return True
        redis_log.recover()
        return read


class Transport(redis.Transport):
    """The transport of `redis://`, `rediss://` and `redis+socket://` after `install`."""

    Channel = Channel
    #: A refusal is one of them: Redis must be asked again later.
    connection_errors = (*redis.Transport.connection_errors, RedisError)


def install() -> None:
    """Have kombu use this transport for every kind of Redis URL.

    Celery's `broker_transport` would not do: the scheme of a URL with a "+" overrides it.
    """
    for scheme in ("redis", "rediss"):
        TRANSPORT_ALIASES[scheme] = f"{__name__}:Transport"
