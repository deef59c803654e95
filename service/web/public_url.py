"""The address of the page behind a reverse proxy, which no header of a request can change."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from models.errors import UsageError


@dataclass(frozen=True)
class PublicUrl:
    """Where browsers find the page: https://dq.example.org/dq."""

    #: "https://dq.example.org", as browsers send it with a form.
    origin: str
    #: The name alone: "dq.example.org".
    name: str
    #: What all paths begin with: "/dq", or "".
    base: str

    def __str__(self) -> str:
        return f"{self.origin}{self.base}"


def read_public_url(text: str) -> PublicUrl:
    """Read an address; raise UsageError for one that browsers could not open."""
    try:
        parts = urlsplit(text)
        name, _ = parts.hostname, parts.port
    except ValueError:
        name = None
    is_plain = name and parts.scheme in {"http", "https"} and "@" not in parts.netloc
    if not is_plain or parts.query or parts.fragment or "//" in parts.path:
        raise UsageError(
            f"--public-url {text}: write the whole address, such as https://dq.example.org/dq"
        )
    assert name
    origin = f"{parts.scheme}://{parts.netloc.lower()}"
    return PublicUrl(origin, name, parts.path.rstrip("/"))


class BasePath:
    """Wraps the application: paths may come with the base path, or without where a proxy cut it."""

    def __init__(self, app: ASGIApp, base: str) -> None:
        self._app = app
        self._base = base

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on with the whole path."""
        if scope["type"] == "http" and self._base:
            path = scope["path"]
            is_whole = f"{path}/".startswith(f"{self._base}/")
            own = path.removeprefix(self._base) or "/" if is_whole else path
            scope = {**scope, "root_path": self._base, "path": f"{self._base}{own}"}
        await self._app(scope, receive, send)


def own_path(scope: Scope) -> str:
    """Return a request's path without the base path."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))
