"""A Celery consumer that drops malformed messages with a log line instead of ending the worker."""

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
#: How many waiting messages are read together: those of a CPU's pack.
_READ_AT_ONCE = 16
#: A child has usually claimed a message's job, and those with it, after that long.
_CLAIMED_SECONDS = 0.02
#: Pauses before the next try after Redis did not answer, or refused.
_RETRY_SECONDS, _LAST_RETRY_SECONDS = 1.0, 5.0


class SafeConsumer(Consumer):  # type: ignore[misc] # Celery publishes no types
    """Celery's `worker_consumer`, which also logs in one line what is wrong with Redis."""

    #: Set before it starts.
    late: LateMessages
    #: The job whose message comes next, if it was read already and is not late.
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
        """Clean up, and wait: a Redis that refuses a command may still accept a connection."""
        redis_log.warn("%s", explain_redis_error(error))
        if self._timer:
            self._timer.cancel()  # it uses the connection
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
            except Exception as error:  # noqa: BLE001 - the worker must survive any message
                _drop(message, repr(error))

        return handle_safely

    def _drop_late_ones_in(self, seconds: float, message: Message) -> None:
        """Drop late messages while the child is busy, so that it need not wait when it is done.

        A new child takes seconds to claim a job: try again, at ever longer intervals.
        """

        def drop() -> None:
            if not self._drop_late_ones_behind(message):
                self._drop_late_ones_in(2 * seconds, message)

        if self._timer:
            self._timer.cancel()
        self._timer = self.hub.call_later(seconds, drop)

    def _drop_late_ones_behind(self, message: Message) -> int:
        """Drop the late messages that wait right behind one in Redis; return how many."""
        dropped, newly = 0, _READ_AT_ONCE
        with suppress(*self.connection_errors):  # asking for the next message reports them, too
            while newly == _READ_AT_ONCE:
                newly = self._drop_some_behind(message)
                dropped += newly
        return dropped

    def _drop_some_behind(self, message: Message) -> int:
        channel = message.channel
        items = channel.look_behind(message, QUEUE, _READ_AT_ONCE)
        job_ids = {item: each.job_id for item in items if (each := _read(channel, item))}
        late = self.late.find(list(job_ids.values()))
        dropped = [item for item, job_id in job_ids.items() if job_id in late]
        if dropped:
            channel.remove_behind(message, QUEUE, dropped)
            logger.debug("dropped late messages for jobs %s", sorted(late))
            waiting = [job_id for job_id in job_ids.values() if job_id not in late]
            self._next = waiting[-1] if waiting else None  # in Redis, the last one is the next
        return len(dropped)

    def on_decode_error(self, message: Message, exc: Exception) -> None:
        """Drop what cannot be decoded."""
        _drop(message, repr(exc))


def _strip(message: Message) -> JobMessage:
    """Remove from a message all but its job, before Celery acts on the rest.

    A time limit would kill our child, a callback send another message, a date block the worker.
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
    """Return the job message in a Redis item; None for an item that any worker drops."""
    try:
        return _strip(channel.Message(json.loads(item), channel=channel))
    except Exception:  # noqa: BLE001 - the worker must survive any message
        return None


def _drop(message: Message, why: str) -> None:
    logger.warning("dropped a message: %.200s", why)
    if not message.acknowledged:
        message.reject()
