"""Serves the application from a thread, and stops within two seconds."""

import socket
import threading
from collections.abc import Sequence
from typing import Self

import uvicorn

from models.errors import DqError
from models.settings import Settings
from service.operations.schema import open_database
from service.web.app import make_app
from service.web.auth import is_loopback, open_access
from service.web.public_url import read_public_url

DEFAULT_PORT = 8765
#: Requests that take longer are cut off when the server stops.
_GRACE_SECONDS = 1


class WebServer:
    """Serves the application at an address during a `with` block."""

    def __init__(
        self,
        settings: Settings,
        host: str,
        port: int,
        names: Sequence[str] = (),
        public_url: str | None = None,
    ) -> None:
        """Bind the address; raise DqError if it cannot be bound, or without a token is not safe."""
        self._host = host
        self._public = public = None if public_url is None else read_public_url(public_url)
        self._access = open_access(settings, host, public)
        self._is_configured = bool(settings.token)
        database = open_database(settings)
        self._socket = _bind(host, port)
        app = make_app(
            settings,
            database,
            self._access,
            names=[*names, host],
            public=public,
            is_stopping=lambda: self._server.should_exit,
        )
        config = uvicorn.Config(
            app,
            access_log=False,  # it would contain the token of the login address
            log_level="warning",
            server_header=False,
            timeout_graceful_shutdown=_GRACE_SECONDS,
            timeout_keep_alive=30,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, args=([self._socket],), name="web", daemon=True
        )

    @property
    def url(self) -> str:
        """The address for browsers."""
        return str(self._public) if self._public else self.own_url

    @property
    def own_url(self) -> str:
        """The address that is bound, for a proxy."""
        host = "127.0.0.1" if self._host in {"0.0.0.0", "::"} else self._host
        shown = f"[{host}]" if ":" in host else host
        return f"http://{shown}:{self._socket.getsockname()[1]}"

    @property
    def login_url(self) -> str:
        """The address to sign in at; it contains the token unless that is configured."""
        if self._is_configured or not is_loopback(self._host):
            return f"{self.url}/login"
        return f"{self.url}/login?token={self._access.token}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
        bound.listen(128)
    except (OSError, OverflowError) as error:
        bound.close()
        fix = "Give another --port or --host"
        raise DqError(f"{host}:{port} cannot be served: {error}. {fix}") from error
    return bound
