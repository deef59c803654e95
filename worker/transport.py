"""A Redis transport that outlives what other people put into the queue, and Redis itself.

kombu 5.7 lets an item that is no message (no JSON, a scalar, bad base64) end the whole worker, and
make it take no further message if Redis dies between a message's arrival and its acknowledgement.
"""

import logging
from queue import Empty
from typing import Any

from kombu.transport import TRANSPORT_ALIASES, redis, virtual

logger = logging.getLogger(__name__)


class QoS(redis.QoS):
    """The count of messages taken and not yet acknowledged; at its limit no more are asked for."""

    def ack(self, delivery_tag: str) -> None:
        """Acknowledge a message; where Redis is not there to hear it, at least stop counting it.

        Else none is asked for again, and so nobody ever notices that the connection is gone.
        """
        try:
            super().ack(delivery_tag)  # type: ignore[no-untyped-call] # kombu
        except self.channel.connection_errors:
            virtual.QoS.ack(self, delivery_tag)
            raise


class Channel(redis.Channel):
    """A channel that drops what it cannot decode, with one line in the log."""

    QoS = QoS
    _shared: Any = None

    def _create_client(self, asynchronous: bool = False) -> Any:
        """Return one client for all commands; kombu makes one for each, which takes longer."""
        if asynchronous:
            return super()._create_client(asynchronous=True)  # type: ignore[no-untyped-call] # kombu
        if self._shared is None or self._shared.connection_pool is not self.pool:
            self._shared = super()._create_client()  # type: ignore[no-untyped-call] # kombu
        return self._shared

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # type: ignore[no-untyped-call] # kombu
        except Empty:
            raise
        except Exception as error:
            # kombu counts a KeyError, which is what a misshaped item makes, among these.
            if isinstance(error, self.connection_errors) and not isinstance(error, KeyError):
                raise
            logger.warning("dropped an item that is no message: %r", error)
            return True


class Transport(redis.Transport):
    """What `redis://`, `rediss://` and `redis+socket://` mean once `install` was called."""

    Channel = Channel


def install() -> None:
    """Have kombu use this transport for every kind of Redis URL.

    Celery's `broker_transport` would not do: the scheme of a URL with a "+" overrides it.
    """
    for scheme in ("redis", "rediss"):
        TRANSPORT_ALIASES[scheme] = f"{__name__}:Transport"
