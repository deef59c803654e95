"""The messages that wait in Redis, read as a person with redis-cli would."""

import json
from base64 import b64decode
from typing import Any

from kombu import Message

from models.message import QUEUE, Priority
from models.settings import Settings
from servers import RedisServer
from worker.queue.app import make_app

_PREFIX = "dq:"
#: kombu's: between a queue's name and a priority other than the highest.
_SEPARATOR = "\x06\x16"


def waiting(redis: RedisServer) -> list[dict[str, Any]]:
    """Return the messages by priority, the oldest of each first."""
    with redis.client() as client:
        return [
            _read(json.loads(item)) | {"priority": priority}
            for priority in Priority
            for item in reversed(client.lrange(_key(priority), 0, -1))
        ]


def waiting_jobs(redis: RedisServer) -> list[int]:
    """Return the ids of the messages' jobs, in the same order."""
    return [message["kwargs"]["job_id"] for message in waiting(redis)]


def _key(priority: Priority) -> str:
    return f"{_PREFIX}{QUEUE}{_SEPARATOR}{priority:d}" if priority else f"{_PREFIX}{QUEUE}"


def _read(envelope: dict[str, Any]) -> dict[str, Any]:
    args, kwargs, _ = json.loads(b64decode(envelope["body"]))
    headers = envelope["headers"]
    return {
        "task": headers["task"],
        "readable": headers["kwargsrepr"],
        "content_type": envelope["content-type"],
        "args": args,
        "kwargs": kwargs,
    }


def take(settings: Settings, count: int) -> list[int]:
    """Take a number of messages as a worker does; return the ids of their jobs."""
    taken: list[int] = []

    def accept(body: Any, message: Message) -> None:
        taken.append(body[1]["job_id"])
        message.ack()

    app = make_app(settings)
    queues = [*app.amqp.queues.values()]
    with (
        app.connection_for_read() as connection,
        connection.Consumer(queues, callbacks=[accept], accept=["json"]),
    ):
        while len(taken) < count:
            connection.drain_events(timeout=10)
    return taken
