"""The signs of life that a worker publishes for Flower, if anybody listens."""

from collections import deque
from typing import Any

from celery.events.dispatcher import EventDispatcher

_MOST_UNSENT = 10


class Dispatcher(EventDispatcher):  # type: ignore[misc] # Celery publishes no types
    """Celery's own keeps what it cannot send for ever; Redis may never let this user publish."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._outbound_buffer: deque[Any] = deque(maxlen=_MOST_UNSENT)
