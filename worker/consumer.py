"""A Celery consumer that refuses misshaped messages instead of ending the worker."""

import logging
from collections.abc import Callable
from typing import Any

from celery.worker.consumer import Consumer
from kombu.message import Message

logger = logging.getLogger(__name__)


class SafeConsumer(Consumer):  # type: ignore[misc] # Celery publishes no types
    """Celery's `worker_consumer`: rejects, with one line in the log, what its handler chokes on."""

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Message], None]:
        """Wrap Celery's own handler."""
        handle = super().create_task_handler(*args, **kwargs)

        def handle_safely(message: Message) -> None:
            try:
                handle(message)
            except Exception as error:  # noqa: BLE001 - whatever it is, the worker must live
                logger.warning("dropped a misshaped message: %r", error)
                message.reject()

        return handle_safely
