"""The client's side of the queue in Redis: sends messages, many in one round trip."""

from collections.abc import Sequence

from redis.exceptions import RedisError

from models.embedded_redis import EmbeddedRedis
from models.message import JobMessage, celery_settings, publish
from models.redis_errors import explain_redis_error
from models.settings import Settings
from models.urls import hide_secrets

#: A client waits this long for a Redis that hangs, and then leaves publishing to the workers.
_SOCKET_SECONDS = 2.0


class Broker:
    """The configured Redis, or the embedded one, which is started when needed."""

    def __init__(self, settings: Settings) -> None:
        self._embedded = EmbeddedRedis(settings.home) if settings.is_broker_embedded else None
        self.url = settings.redis_url or EmbeddedRedis(settings.home).url

    def publish(self, messages: Sequence[JobMessage]) -> None:
        """Send a message for each job; raise BrokerUnreachable if Redis does not take them."""
        # Celery takes 0.2 s to import, and most commands publish nothing.
        from celery import Celery  # noqa: PLC0415
        from kombu.exceptions import KombuError  # noqa: PLC0415

        if self._embedded:
            self._embedded.ensure_running()
        app = Celery("dq", set_as_current=False)
        app.conf.update(celery_settings(self.url, socket_timeout=_SOCKET_SECONDS))
        try:
            publish(app, messages)
        except (KombuError, RedisError, OSError) as error:
            raise explain_redis_error(error, f"Redis at {self.name}") from error

    @property
    def name(self) -> str:
        """The URL without its password."""
        return hide_secrets(self.url)
