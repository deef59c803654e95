"""A Celery consumer that drops misshaped messages, a line each, instead of ending the worker."""

import json
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from celery.worker.consumer import Consumer
from kombu.message import Message

from models.message import QUEUE, TASK, Bell, read
from worker.late import LateMessages

logger = logging.getLogger(__name__)
#: So many messages are looked at together: those of a CPU's pack.
_LOOKED_AT = 16
#: By then the child has claimed what a message rings for, and what it takes along, as a rule.
_CLAIMED_SECONDS = 0.02


class SafeConsumer(Consumer):  # type: ignore[misc] # Celery publishes no types
    """Celery's `worker_consumer`."""

    #: Given before it starts.
    late: LateMessages
    #: The job whose message comes next, if it waited when it was looked at.
    _next: int | None = None
    _timer: Any = None

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Message], None]:
        """Wrap Celery's own handler, which lets some messages end the worker."""
        handle = super().create_task_handler(*args, **kwargs)

        def handle_safely(message: Message) -> None:
            try:
                bell = _strip(message)
                if bell.job_id != self._next and self.late.find([bell.job_id]):
                    logger.debug("dropped a late message for job %s", bell.job_id)
                    message.ack_log_error(logger, self.connection_errors)
                    self._drop_late_ones_behind(message)
                else:
                    handle(message)
                    self._drop_late_ones_soon(message)
            except Exception as error:  # noqa: BLE001 - whatever it is, the worker must live
                _drop(message, repr(error))

        return handle_safely

    def _drop_late_ones_soon(self, message: Message) -> None:
        """Drop them while the child is busy, rather than keep it waiting when it is done."""
        if self._timer:
            self._timer.cancel()
        self._next = None
        self._timer = self.hub.call_later(_CLAIMED_SECONDS, self._drop_late_ones_behind, message)

    def _drop_late_ones_behind(self, message: Message) -> None:
        """Drop the late ones among the next messages in Redis."""
        channel, are_all_late = message.channel, True
        with suppress(*self.connection_errors):  # who asks for the next message notices, too
            while are_all_late:
                waiting = channel.look_behind(message, QUEUE, _LOOKED_AT)
                bells = {item: bell for item in waiting if (bell := _read(channel, item))}
                job_ids = [bell.job_id for bell in bells.values()]
                late = self.late.find(job_ids)
                items = [item for item, bell in bells.items() if bell.job_id in late]
                channel.remove_behind(message, QUEUE, items)
                logger.debug("dropped late messages for jobs %s", sorted(late))
                # The last one is the next to be taken. Without late ones it was too early to tell.
                waits = (job_id for job_id in reversed(job_ids) if job_id not in late)
                self._next = next(waits, None) if late else None
                are_all_late = len(items) == _LOOKED_AT

    def on_decode_error(self, message: Message, exc: Exception) -> None:
        """Drop what cannot be decoded."""
        _drop(message, repr(exc))


def _strip(message: Message) -> Bell:
    """Leave of a message the job it rings for, and nothing else that Celery would act on.

    A time limit would kill our child, a callback send another message, a date occupy the worker.
    """
    headers = message.headers
    if not isinstance(headers, dict) or headers.get("task") != TASK:
        raise ValueError("it is no task of dq's")  # though it may be one of Celery's own
    if message.content_type != "application/json":
        raise ValueError(f"its content is {message.content_type}, not JSON")
    _args, kwargs, _embedded = json.loads(message.body)
    if (bell := read(kwargs)) is None:
        raise ValueError(f"its arguments are those of no job: {kwargs!r:.100}")
    message.headers = {"task": TASK, "id": str(headers.get("id")), "lang": "py"}
    message.body = json.dumps([[], kwargs, {}])
    message.content_encoding = "utf-8"
    return bell


def _read(channel: Any, item: bytes) -> Bell | None:
    """Return what a message in Redis rings for; None if whoever takes it will drop it."""
    try:
        return _strip(channel.Message(json.loads(item), channel=channel))
    except Exception:  # noqa: BLE001 - whatever it is, the worker must live
        return None


def _drop(message: Message, why: str) -> None:
    logger.warning("dropped a message: %.200s", why)
    if not message.acknowledged:
        message.reject()
