"""The events that a worker publishes for Flower."""

from collections import deque
from typing import Any

from celery.events.dispatcher import EventDispatcher

_MOST_UNSENT = 10


class Dispatcher(EventDispatcher):  # type: ignore[misc] # Celery publishes no types
    """Keeps few unsent events, and not all: Redis may never let this user publish them."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._outbound_buffer: deque[Any] = deque(maxlen=_MOST_UNSENT)
