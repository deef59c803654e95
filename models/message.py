"""The message that says there is work, and how Celery carries it on both sides."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

TASK = "dq.run_job"
QUEUE = "dq"
#: How many messages are sent together: workers take the first while the last are being made.
_AT_ONCE = 100
_LARGEST_ID = 2**31 - 1  # of SQL's integers


class Priority(IntEnum):
    """Which of the queued jobs a worker starts first."""

    #: Before all others.
    HIGH = 0
    #: The default.
    NORMAL = 3
    #: When nothing else waits.
    LOW = 6


@dataclass(frozen=True)
class JobMessage:
    """Says that there is work: the worker that takes it runs the next job, by the jobs' rows.

    Id and spec are of the job for which it was sent, and let people read the queue.
    """

    job_id: int
    spec: dict[str, Any]

    def as_task(self) -> dict[str, Any]:
        """Return the arguments of Celery's `send_task`."""
        kwargs = {"job_id": self.job_id, "spec": self.spec}
        return {
            "name": TASK,
            "kwargs": kwargs,
            # Flower shows these. Celery's own way of writing them takes 40 % of the time to send.
            "argsrepr": "()",
            "kwargsrepr": repr(kwargs),
            "queue": QUEUE,
            "ignore_result": True,
        }


def parse(kwargs: Mapping[str, Any]) -> JobMessage | None:
    """Return the message with these Celery arguments, or None if they are malformed."""
    job_id, spec = kwargs.get("job_id"), kwargs.get("spec")
    if type(job_id) is not int or not 0 < job_id <= _LARGEST_ID or not isinstance(spec, dict):
        return None
    return JobMessage(job_id, spec)


def publish(app: Any, messages: Iterable[JobMessage]) -> None:
    """Send many messages in few round trips by a Celery application, of client or worker."""
    with app.producer_pool.acquire(block=True) as producer, producer.batch(_AT_ONCE):
        for number, message in enumerate(messages):
            # Checking whether the queue is declared takes a quarter of the time to send.
            known = {"declare": ()} if number else {}
            app.send_task(**message.as_task(), producer=producer, **known)


def celery_settings(broker_url: str, *, socket_timeout: float) -> dict[str, Any]:
    """Return the Celery settings that producer and worker share: JSON alone, no result backend.

    `socket_timeout`, in seconds, ends the wait for a Redis that hangs.
    """
    return {
        "broker_url": broker_url,
        "task_serializer": "json",
        "accept_content": ["json"],
        "task_ignore_result": True,
        "task_default_queue": QUEUE,
        "task_create_missing_queues": True,
        "broker_transport_options": {
            # After the claim in SQL the message has no use: none need stay unacknowledged for long.
            "visibility_timeout": 60,
            "unacked_restore_interval": 5,
            "unacked_restore_throttle": 1,
            "socket_timeout": socket_timeout,
            "socket_connect_timeout": 3,
            "socket_keepalive": True,
            "health_check_interval": 10,
            "global_keyprefix": "dq:",
        },
        "task_publish_retry_policy": {
            "max_retries": 1,
            "interval_start": 0,
            "interval_step": 0.2,
            "interval_max": 0.2,
        },
    }
