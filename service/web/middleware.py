"""Middleware: base path, security headers, host check, body limit, and HEAD."""

import ipaddress
import socket
from collections.abc import Iterable
from urllib.parse import urlsplit

from anyio import CancelScope
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.web.errors import BODY_TOO_LARGE, problem_response

#: Scripts come from this server only. Plotly sets styles in elements, which cannot carry a nonce.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}


class BasePathMiddleware:
    """Let every path begin with the base path, whether the proxy kept it or removed it.

    FastAPI's own `root_path` takes both, too, but then a mount does not find its files.
    """

    def __init__(self, app: ASGIApp, base: str) -> None:
        self._app = app
        self._base = base

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on with the whole path."""
        if scope["type"] == "http" and self._base:
            path = scope["path"]
            is_whole = f"{path}/".startswith(f"{self._base}/")
            rest = path.removeprefix(self._base) or "/" if is_whole else path
            scope = {**scope, "root_path": self._base, "path": f"{self._base}{rest}"}
        await self._app(scope, receive, send)


class SecurityHeadersMiddleware:
    """Add security headers, and forbid caches to keep a response that does not allow it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and add headers to the response."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(_HEADERS)
                headers.setdefault("cache-control", "no-store")
            await send(message)

        await self._app(scope, receive, send_with_headers)


class HostCheckMiddleware:
    """Refuse unknown host names, which could be another site's, rebound to this host by DNS.

    Starlette's TrustedHostMiddleware cannot allow all IP addresses, and answers in plain text.
    """

    def __init__(self, app: ASGIApp, names: Iterable[str] = ()) -> None:
        self._app = app
        self._names = {"localhost", socket.gethostname().lower(), *(n.lower() for n in names)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer 421."""
        if scope["type"] == "http" and not self._is_known(Headers(scope=scope).get("host", "")):
            refusal = problem_response(
                421,
                "This server does not know the name in the address: start it with "
                "dq web --allow-host NAME, or behind a proxy with --public-url https://NAME",
            )
            await refusal(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _is_known(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        return name in self._names or _is_address(name)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class BodyLimitMiddleware(RequestBodyLimitMiddleware):
    """Limit the size of request bodies; a declared length is refused before the body is read.

    Starlette's own refusal of a declared length is in plain text.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer 413."""
        length = Headers(raw=list(scope.get("headers", ()))).get("content-length", "0")
        if length.isdecimal() and int(length) <= self.max_body_size:
            await super().__call__(scope, receive, send)
        else:
            await problem_response(413, BODY_TOO_LARGE)(scope, receive, send)


class HeadMiddleware:
    """Answer HEAD as GET without a body: FastAPI's routes answer GET only."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the status and the headers of GET; leave an endless stream after its headers."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        with CancelScope() as response:

            async def send_head(message: Message) -> None:
                if message["type"] == "http.response.start":
                    await send(message)
                    await send({"type": "http.response.body", "body": b""})
                elif message.get("more_body"):
                    response.cancel()

            await self._app({**scope, "method": "GET"}, receive, send_head)
