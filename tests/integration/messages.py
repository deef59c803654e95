"""The messages that wait in Redis, read as a person with redis-cli would."""

import json
from base64 import b64decode
from typing import Any

from models.message import QUEUE
from servers import RedisServer

_PREFIX = "dq:"


def waiting(redis: RedisServer) -> list[dict[str, Any]]:
    """Return the messages, the oldest first."""
    with redis.client() as client:
        return [
            _read(json.loads(item)) for item in reversed(client.lrange(f"{_PREFIX}{QUEUE}", 0, -1))
        ]


def waiting_jobs(redis: RedisServer) -> list[int]:
    """Return the ids of the messages' jobs, in the same order."""
    return [message["kwargs"]["job_id"] for message in waiting(redis)]


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
