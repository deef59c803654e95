"""A Redis transport that outlives what other people put into the queue.

kombu 5.7 lets an item that is no message (no JSON, a scalar, bad base64) end the whole worker.
"""

import logging
from queue import Empty
from typing import Any

from kombu.transport import redis

logger = logging.getLogger(__name__)


class Channel(redis.Channel):
    """A channel that drops what it cannot decode, with one line in the log."""

    def _brpop_read(self, **options: Any) -> Any:
        # A KeyError is kombu's word for a misshaped item, and also one of its "channel errors".
        try:
            return super()._brpop_read(**options)  # type: ignore[no-untyped-call] # kombu
        except (Empty, *self.connection_errors):
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the worker must live
            logger.warning("dropped an item that is no message: %r", error)
            return True


class Transport(redis.Transport):
    """Celery's `broker_transport`."""

    Channel = Channel
