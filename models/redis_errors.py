"""Finds in the errors of redis-py and kombu what Redis itself said."""

import re

from redis.exceptions import AuthenticationError, ResponseError

from models.errors import BrokerUnreachable

#: How redis-py's message begins if a command of a pipeline failed.
_PIPELINE = re.compile(r"^Command # \d+ .* of pipeline caused error: ", re.DOTALL)


def explain_redis_error(error: Exception, name: str = "Redis") -> BrokerUnreachable:
    """Return the error for the user: Redis refuses a command, or does not answer."""
    cause: BaseException = error
    while cause.__cause__ is not None:  # kombu wraps it, once or twice
        cause = cause.__cause__
    message = _PIPELINE.sub("", str(cause)).rstrip(".") or type(cause).__name__
    if code := getattr(cause, "status_code", None):  # redis-py removes it from some messages
        message = f"{code} {message}"
    is_refusal = isinstance(cause, ResponseError | AuthenticationError)
    return BrokerUnreachable(f"{name} {'refuses' if is_refusal else 'does not answer'}: {message}")
