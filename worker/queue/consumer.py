"""A Celery consumer that drops malformed messages with a log line instead of ending the worker."""

import json
import logging
import time
import warnings
from collections.abc import Callable
from typing import Any

from celery.exceptions import CPendingDeprecationWarning
from celery.worker.consumer import Consumer
from celery.worker.state import maybe_shutdown
from kombu.message import Message

from models.message import TASK, parse
from models.redis_errors import explain_redis_error
from worker.queue.transport import redis_log

logger = logging.getLogger(__name__)
#: Pauses before the next try after Redis did not answer, or refused.
_RETRY_SECONDS, _LAST_RETRY_SECONDS = 1.0, 5.0


class SafeConsumer(Consumer):  # type: ignore[misc] # Celery publishes no types
    """Celery's `worker_consumer`, which also logs in one line what is wrong with Redis."""

    def ensure_connected(self, connection: Any) -> Any:
        """Return the connection once it is made."""

        def note(error: Exception, _: float) -> None:
            redis_log.warn("%s", explain_redis_error(error))

        steps = (_RETRY_SECONDS, _RETRY_SECONDS, _LAST_RETRY_SECONDS)
        return connection.ensure_connection(note, None, *steps, callback=maybe_shutdown)

    def on_connection_error_before_connected(self, error: Exception) -> None:
        """Wait before the next try."""
        redis_log.warn("%s", explain_redis_error(error))
        time.sleep(_RETRY_SECONDS)

    def on_connection_error_after_connected(self, error: Exception) -> None:
        """Clean up, and wait: a Redis that refuses a command may still accept a connection."""
        redis_log.warn("%s", explain_redis_error(error))
        with warnings.catch_warnings():
            # Celery announces, each time, the next default of a setting that dq sets.
            warnings.simplefilter("ignore", CPendingDeprecationWarning)
            super().on_connection_error_after_connected(error)
        time.sleep(_RETRY_SECONDS)

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Message], None]:
        """Wrap Celery's own handler, which lets some messages end the worker."""
        handle = super().create_task_handler(*args, **kwargs)

        def handle_safely(message: Message) -> None:
            try:
                _strip(message)
                handle(message)
            except Exception as error:  # noqa: BLE001 - the worker must survive any message
                _drop(message, repr(error))

        return handle_safely

    def on_decode_error(self, message: Message, exc: Exception) -> None:
        """Drop what cannot be decoded."""
        _drop(message, repr(exc))


def _strip(message: Message) -> None:
    """Remove from a message all but its job, before Celery acts on the rest.

    A time limit would kill our child, a callback send another message, a date block the worker.
    """
    headers = message.headers
    if not isinstance(headers, dict) or headers.get("task") != TASK:
        raise ValueError("it is no task of dq's")  # though it may be one of Celery's own
    if message.content_type != "application/json":
        raise ValueError(f"its content is {message.content_type}, not JSON")
    _args, kwargs, _embedded = json.loads(message.body)
    if parse(kwargs) is None:
        raise ValueError(f"its arguments are those of no job: {kwargs!r:.100}")
    message.headers = {"task": TASK, "id": str(headers.get("id")), "lang": "py"}
    message.body = json.dumps([[], kwargs, {}])
    message.content_encoding = "utf-8"


def _drop(message: Message, why: str) -> None:
    logger.warning("dropped a message: %.200s", why)
    if not message.acknowledged:
        message.reject()
