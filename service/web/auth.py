"""Who may act: whoever bears the token, and a browser's session that no other site can ride on."""

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

#: A shorter one could be guessed.
LEAST_TOKEN = 16
_SESSION_SECONDS = 12 * 3600


@dataclass(frozen=True)
class Access:
    """The token of one server, and the sessions it opened, which it need not remember."""

    token: str

    def admits(self, token: str) -> bool:
        """Whether this is the token."""
        return hmac.compare_digest(token.encode(), self.token.encode())

    @cached_property
    def cookie(self) -> str:
        """The session cookie's name: browsers share cookies between the ports of a host."""
        return f"dq-{hashlib.sha256(self.token.encode()).hexdigest()[:8]}"

    def open_session(self) -> str:
        """Return the value of a new session's cookie."""
        session = f"{int(time.time()) + _SESSION_SECONDS}.{secrets.token_hex(8)}"
        return f"{session}.{self._sign('session', session)}"

    def is_open(self, cookie: str) -> bool:
        """Whether a cookie's session was opened by this token, and not too long ago."""
        session, _, signature = cookie.rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._sign("session", session).encode()):
            return False
        return int(session.partition(".")[0]) > time.time()

    def stamp(self, cookie: str) -> str:
        """Return what a session's forms must carry, which another site cannot know."""
        return self._sign("form", cookie)

    def bears_stamp(self, cookie: str, stamp: str) -> bool:
        """Whether a form was written for this session."""
        return hmac.compare_digest(stamp.encode(), self.stamp(cookie).encode())

    def _sign(self, purpose: str, text: str) -> str:
        message = f"{purpose}:{text}".encode()
        return hmac.new(self.token.encode(), message, hashlib.sha256).hexdigest()


def open_access(settings: Settings, host: str, public: PublicUrl | None = None) -> Access:
    """Return who may act on a server bound to `host`, and reached at a public address, too.

    Without a configured token one is drawn, for this host alone. Raises UsageError for a token
    that is too short, and where other hosts can reach a server that has none.
    """
    token = settings.token
    if token and len(token) < LEAST_TOKEN:
        raise UsageError(
            f"The web token has {len(token)} characters: give at least {LEAST_TOKEN}, "
            "as `openssl rand -hex 16` does"
        )
    reached = f"--host {host}" if not is_loopback(host) else ""
    if public and not is_loopback(public.name):
        reached = f"--public-url {public}"
    if not token and reached:
        raise UsageError(
            f"{reached} can be reached from other hosts: set DQ_WEB_TOKEN or "
            "DQ_WEB_TOKEN_FILE to a secret, such as the output of `openssl rand -hex 16`"
        )
    return Access(token or secrets.token_urlsafe(24))


def is_loopback(host: str) -> bool:
    """Whether only this host reaches what is bound to that address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
