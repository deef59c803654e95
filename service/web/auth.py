"""Who may act: clients that send the token, and browser sessions that no other site can use."""

import hashlib
import hmac
import ipaddress
import secrets
import time
from dataclasses import dataclass
from functools import cached_property

from models.errors import UsageError
from models.settings import Settings
from service.web.public_url import PublicUrl

#: A shorter token could be guessed.
MIN_TOKEN_LENGTH = 16
_SESSION_SECONDS = 12 * 3600


@dataclass(frozen=True)
class Access:
    """The token of one server, which also signs its sessions: none of them is stored."""

    token: str

    def is_token(self, text: str) -> bool:
        """Whether this is the token."""
        return hmac.compare_digest(text.encode(), self.token.encode())

    @cached_property
    def cookie(self) -> str:
        """The session cookie's name: browsers share cookies between the ports of a host."""
        return f"dq-{hashlib.sha256(self.token.encode()).hexdigest()[:8]}"

    def open_session(self) -> str:
        """Return the value of a new session's cookie."""
        session = f"{int(time.time()) + _SESSION_SECONDS}.{secrets.token_hex(8)}"
        return f"{session}.{self._sign('session', session)}"

    def is_open(self, cookie: str) -> bool:
        """Whether a cookie's session was opened with this token and has not expired."""
        session, _, signature = cookie.rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._sign("session", session).encode()):
            return False
        return int(session.partition(".")[0]) > time.time()

    def make_csrf_token(self, cookie: str) -> str:
        """Return what the forms of a session must send, which another site cannot know."""
        return self._sign("form", cookie)

    def is_csrf_token(self, cookie: str, text: str) -> bool:
        """Whether a form was made for this session."""
        return hmac.compare_digest(text.encode(), self.make_csrf_token(cookie).encode())

    def _sign(self, purpose: str, text: str) -> str:
        message = f"{purpose}:{text}".encode()
        return hmac.new(self.token.encode(), message, hashlib.sha256).hexdigest()


def open_access(settings: Settings, host: str, public: PublicUrl | None = None) -> Access:
    """Return who may act on a server that is bound to `host`, and maybe behind a proxy.

    Without a configured token a new one is made, for this host only. Raises UsageError for a token
    that is too short, and if other hosts can reach a server without a configured token.
    """
    token = settings.token
    if token and len(token) < MIN_TOKEN_LENGTH:
        raise UsageError(
            f"The web token has {len(token)} characters: give at least {MIN_TOKEN_LENGTH}, "
            "as `openssl rand -hex 16` does"
        )
    exposed = f"--host {host}" if not is_loopback(host) else ""
    if public and not is_loopback(public.host):
        exposed = f"--public-url {public}"
    if not token and exposed:
        raise UsageError(
            f"{exposed} can be reached from other hosts: set DQ_WEB_TOKEN or "
            "DQ_WEB_TOKEN_FILE to a secret, such as the output of `openssl rand -hex 16`"
        )
    return Access(token or secrets.token_urlsafe(24))


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this host only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
