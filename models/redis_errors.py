"""What Redis itself said, out of the errors of redis-py and kombu."""

import re

from redis.exceptions import AuthenticationError, ResponseError

from models.errors import BrokerUnreachable

#: How redis-py begins if one of several commands failed; it repeats that, with a whole message.
_PIPELINE = re.compile(r"^Command # \d+ .* of pipeline caused error: ", re.DOTALL)


def explain_redis_error(error: Exception, name: str = "Redis") -> BrokerUnreachable:
    """Return the error for the user: that Redis refuses a command, or that it does not answer."""
    cause: BaseException = error
    while cause.__cause__ is not None:  # kombu wraps it, once or twice
        cause = cause.__cause__
    words = _PIPELINE.sub("", str(cause)).rstrip(".") or type(cause).__name__
    if code := getattr(cause, "status_code", None):  # redis-py takes it off the words of some
        words = f"{code} {words}"
    is_refusal = isinstance(cause, ResponseError | AuthenticationError)
    return BrokerUnreachable(f"{name} {'refuses' if is_refusal else 'does not answer'}: {words}")
