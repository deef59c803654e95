"""A Celery consumer that drops misshaped messages, a line each, instead of ending the worker."""

import json
import logging
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from celery.exceptions import CPendingDeprecationWarning
from celery.worker.consumer import Consumer
from celery.worker.state import maybe_shutdown
from kombu.message import Message

from models.message import QUEUE, TASK, JobMessage, parse
from models.redis_errors import explain_redis_error
from worker.queue.late_messages import LateMessages
from worker.queue.transport import redis_log

logger = logging.getLogger(__name__)
#: So many messages are looked at together: those of a CPU's pack.
_LOOKED_AT = 16
#: By then a child has claimed the job of a message, and those it takes along, as a rule.
_CLAIMED_SECONDS = 0.02
#: Before Redis is asked again, which did not answer or refused.
_RETRY_SECONDS, _LAST_RETRY_SECONDS = 1.0, 5.0


class SafeConsumer(Consumer):  # type: ignore[misc] # Celery publishes no types
    """Celery's `worker_consumer`, which also says in one line what is wrong with Redis."""

    #: Given before it starts.
    late: LateMessages
    #: The job whose message comes next, if it waited when it was looked at.
    _next: int | None = None
    _timer: Any = None

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
        """Clean up, and wait: a Redis that refuses one command may well take a connection."""
        redis_log.warn("%s", explain_redis_error(error))
        if self._timer:
            self._timer.cancel()  # what it looks at, goes with the connection
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
                job_message = _strip(message)
                if job_message.job_id != self._next and self.late.find([job_message.job_id]):
                    logger.debug("dropped a late message for job %s", job_message.job_id)
                    message.ack_log_error(logger, self.connection_errors)
                    self._drop_late_ones_behind(message)
                else:
                    handle(message)
                    self._next = None
                    self._drop_late_ones_in(_CLAIMED_SECONDS, message)
            except Exception as error:  # noqa: BLE001 - whatever it is, the worker must live
                _drop(message, repr(error))

        return handle_safely

    def _drop_late_ones_in(self, seconds: float, message: Message) -> None:
        """Drop them while the child is busy, rather than keep it waiting when it is done.

        A child that is new takes seconds to claim: look again, ever more seldom.
        """

        def drop() -> None:
            if not self._drop_late_ones_behind(message):
                self._drop_late_ones_in(2 * seconds, message)

        if self._timer:
            self._timer.cancel()
        self._timer = self.hub.call_later(seconds, drop)

    def _drop_late_ones_behind(self, message: Message) -> int:
        """Drop the late ones that wait right behind a message in Redis; return how many."""
        dropped, some = 0, _LOOKED_AT
        with suppress(*self.connection_errors):  # who asks for the next message notices, too
            while some == _LOOKED_AT:
                some = self._drop_some_behind(message)
                dropped += some
        return dropped

    def _drop_some_behind(self, message: Message) -> int:
        channel = message.channel
        waiting = channel.look_behind(message, QUEUE, _LOOKED_AT)
        job_messages = {
            item: job_message for item in waiting if (job_message := _read(channel, item))
        }
        late = self.late.find([job_message.job_id for job_message in job_messages.values()])
        items = [item for item, job_message in job_messages.items() if job_message.job_id in late]
        if items:
            channel.remove_behind(message, QUEUE, items)
            logger.debug("dropped late messages for jobs %s", sorted(late))
            waits = [
                job_message.job_id
                for job_message in job_messages.values()
                if job_message.job_id not in late
            ]
            self._next = waits[-1] if waits else None  # in Redis, the last one is the next
        return len(items)

    def on_decode_error(self, message: Message, exc: Exception) -> None:
        """Drop what cannot be decoded."""
        _drop(message, repr(exc))


def _strip(message: Message) -> JobMessage:
    """Leave of a message its job, and nothing else that Celery would act on.

    A time limit would kill our child, a callback send another message, a date occupy the worker.
    """
    headers = message.headers
    if not isinstance(headers, dict) or headers.get("task") != TASK:
        raise ValueError("it is no task of dq's")  # though it may be one of Celery's own
    if message.content_type != "application/json":
        raise ValueError(f"its content is {message.content_type}, not JSON")
    _args, kwargs, _embedded = json.loads(message.body)
    if (job_message := parse(kwargs)) is None:
        raise ValueError(f"its arguments are those of no job: {kwargs!r:.100}")
    message.headers = {"task": TASK, "id": str(headers.get("id")), "lang": "py"}
    message.body = json.dumps([[], kwargs, {}])
    message.content_encoding = "utf-8"
    return job_message


def _read(channel: Any, item: bytes) -> JobMessage | None:
    """Return the job message that is in a Redis item; None for an item that any worker drops."""
    try:
        return _strip(channel.Message(json.loads(item), channel=channel))
    except Exception:  # noqa: BLE001 - whatever it is, the worker must live
        return None


def _drop(message: Message, why: str) -> None:
    logger.warning("dropped a message: %.200s", why)
    if not message.acknowledged:
        message.reject()
