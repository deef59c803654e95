"""The address behind a reverse proxy, which no header of a request can change."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.types import Scope

from models.errors import UsageError


@dataclass(frozen=True)
class PublicUrl:
    """Where browsers find the page: https://dq.example.org/dq."""

    #: "https://dq.example.org", as browsers send it with a form.
    origin: str
    #: The host name: "dq.example.org".
    host: str
    #: The base path, with which all paths begin: "/dq", or "".
    base: str

    def __str__(self) -> str:
        return f"{self.origin}{self.base}"


def read_public_url(text: str) -> PublicUrl:
    """Read an address; raise UsageError for one that browsers could not open."""
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    is_plain = host and parts.scheme in {"http", "https"} and "@" not in parts.netloc
    if not is_plain or parts.query or parts.fragment or "//" in parts.path:
        raise UsageError(
            f"--public-url {text}: write the whole address, such as https://dq.example.org/dq"
        )
    assert host
    origin = f"{parts.scheme}://{parts.netloc.lower()}"
    return PublicUrl(origin, host, parts.path.rstrip("/"))


def route_path(scope: Scope) -> str:
    """Return a request's path without the base path."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))
