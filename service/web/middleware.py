"""What every request passes: names that other sites cannot borrow, sizes, and safe headers."""

import ipaddress
import json
import socket
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.web.public_url import own_path

#: A submit of a thousand specs is a fifth of it.
MOST_BODY_BYTES = 1_000_000

#: Scripts come from here alone. Plotly sets styles in elements, which cannot bear a nonce.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = [
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
]


class Gate:
    """Wraps the application: refuses what may not come in, and adds headers to what goes out."""

    def __init__(self, app: ASGIApp, names: Iterable[str] = ()) -> None:
        self._app = app
        self._names = {"localhost", socket.gethostname().lower(), *(n.lower() for n in names)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it here."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        if not self._is_named(headers.get(b"host", "")):
            await _refuse(send, 421, _UNKNOWN_NAME)
        elif _is_too_large(headers.get(b"content-length", "0")):
            await _refuse(send, 413, _TOO_LARGE)
        else:
            await self._app(scope, _Measured(receive), _dressing(scope, send))

    def _is_named(self, host: str) -> bool:
        """Whether a Host header is one of ours: a rebound DNS name of another site is not."""
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        return name in self._names or _is_address(name)


def _is_address(name: str) -> bool:
    """Whether this is no name at all, and so none that DNS could bind to another host."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


_UNKNOWN_NAME = (
    "This server does not know the name in the address: start it with dq web --allow-host NAME, "
    "or behind a proxy with --public-url https://NAME"
)
_TOO_LARGE = f"A request has at most {MOST_BODY_BYTES:,} bytes: send it in parts"


def _is_too_large(length: str) -> bool:
    return not length.isdecimal() or int(length) > MOST_BODY_BYTES


class BodyTooLarge(HTTPException):
    """A body without a length turned out to be too long."""

    def __init__(self) -> None:
        super().__init__(413, _TOO_LARGE)


class _Measured:
    """Receives a body, and stops where it gets too long."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._bytes = 0

    async def __call__(self) -> Message:
        message = await self._receive()
        self._bytes += len(message.get("body", b""))
        if self._bytes > MOST_BODY_BYTES:
            raise BodyTooLarge
        return message


def _dressing(scope: Scope, send: Send) -> Send:
    """Add the headers; nothing but the fixed files may be kept by a cache."""
    fixed = own_path(scope).startswith("/static/")

    async def dress(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], *_HEADERS]
            if not fixed:
                message["headers"].append((b"cache-control", b"no-store"))
        await send(message)

    return dress


async def _refuse(send: Send, status: int, detail: str) -> None:
    from http import HTTPStatus

    problem = {"status": status, "title": HTTPStatus(status).phrase, "detail": detail}
    headers = [(b"content-type", b"application/json"), *_HEADERS]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(problem).encode()})
