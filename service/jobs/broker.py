"""The client's side of the queue in Redis: sends messages, many in one round trip."""

from collections.abc import Sequence

from models.message import JobMessage, celery_settings, publish
from models.settings import Settings
from models.urls import hide_secrets

#: A client waits this long for a Redis that hangs, and then leaves publishing to the workers.
_SOCKET_SECONDS = 2.0


class Broker:
    """The configured Redis, or the embedded one, which is started when needed."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def publish(self, messages: Sequence[JobMessage]) -> None:
        """Send a message for each job; raise BrokerUnreachable if Redis does not take them."""
        # Celery and redis-py take 0.4 s to import, and most commands publish nothing.
        from celery import Celery  # noqa: PLC0415
        from kombu.exceptions import KombuError  # noqa: PLC0415
        from redis.exceptions import RedisError  # noqa: PLC0415

        from models.embedded_redis import EmbeddedRedis  # noqa: PLC0415
        from models.redis_errors import explain_redis_error  # noqa: PLC0415

        embedded = EmbeddedRedis(self._settings.home)
        if self._settings.is_broker_embedded:
            embedded.ensure_running()
        url = self._settings.redis_url or embedded.url
        app = Celery("dq", set_as_current=False)
        app.conf.update(celery_settings(url, socket_timeout=_SOCKET_SECONDS))
        try:
            publish(app, messages)
        except (KombuError, RedisError, OSError) as error:
            raise explain_redis_error(error, f"Redis at {hide_secrets(url)}") from error
