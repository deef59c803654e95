"""A second host: a network namespace, with a wire to this one that can be cut."""

import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from redis import Redis

from chaos.stack import DQ, DurableRedis, WorkerHost
from models.embedded_redis import find_server
from servers import PostgresServer

#: The two ends of the wire, in a range that is for tests of networks; other tests have other ends.
_NUMBER = os.getpid() % 16384
HERE, THERE = (f"198.18.{_NUMBER // 64}.{_NUMBER % 64 * 4 + end}" for end in (1, 2))
PASSWORD = "a-password"


def why_no_second_host() -> str | None:
    """Say what is missing for one; None if nothing is."""
    if not shutil.which("ip"):
        return "ip is not installed: apt-get install iproute2"
    if os.getuid() != 0:
        return "a network namespace takes root"
    name = f"dqtry{os.getpid()}"
    tried = subprocess.run(
        ["ip", "netns", "add", name], capture_output=True, text=True, check=False
    )
    if tried.returncode:
        return f"this kernel makes no network namespace: {tried.stderr.strip()}"
    _ip("netns", "delete", name)
    return None


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


@dataclass
class SecondHost:
    """A network namespace; `name` is its host name, too."""

    name: str

    def make(self) -> None:
        here, there = f"{self.name}a", f"{self.name}b"
        _ip("netns", "add", self.name)
        _ip("link", "add", here, "type", "veth", "peer", "name", there, "netns", self.name)
        _ip("address", "add", f"{HERE}/30", "dev", here)
        _ip("link", "set", here, "up")
        self._ip_there("address", "add", f"{THERE}/30", "dev", there)
        self._ip_there("link", "set", there, "up")
        self._ip_there("link", "set", "lo", "up")

    def remove(self) -> None:
        _ip("link", "delete", f"{self.name}a")
        _ip("netns", "delete", self.name)

    @contextmanager
    def cut_off(self) -> Iterator[None]:
        """Pull the plug there for the time of a `with`: packets vanish, no connection is closed."""
        self._ip_there("link", "set", f"{self.name}b", "down")
        try:
            yield
        finally:
            self._ip_there("link", "set", f"{self.name}b", "up")

    def _ip_there(self, *words: str) -> None:
        _ip("netns", "exec", self.name, "ip", *words)


@contextmanager
def second_host() -> Iterator[SecondHost]:
    host = SecondHost(f"dq{uuid.uuid4().hex[:8]}")
    host.make()
    try:
        yield host
    finally:
        host.remove()


@dataclass
class DistantWorker(WorkerHost):
    """A `dq worker` on a second host."""

    host: str = ""

    def start(self) -> None:
        words = f"hostname {self.host} && exec {DQ} worker --device cpu --workers 1"
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                ["ip", "netns", "exec", self.host, "unshare", "--uts", "sh", "-c", words],
                env=self.environment,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )


class ReachableRedis(DurableRedis):
    """A Redis that both hosts reach."""

    def start(self) -> None:
        command = [find_server(), "--port", "6379", "--bind", HERE, "--requirepass", PASSWORD]
        command += ["--unixsocket", str(self.socket), "--dir", str(self.folder)]
        self._spawn([*command, "--appendonly", "yes", "--save", ""])

    @property
    def url(self) -> str:
        return f"redis://:{PASSWORD}@{HERE}:6379/0"

    def client(self) -> Redis:
        return Redis(unix_socket_path=str(self.socket), password=PASSWORD)


class ReachablePostgres(PostgresServer):
    """A PostgreSQL that both hosts reach."""

    address = HERE

    def initialise(self) -> None:
        super().initialise()
        with (self.folder / "data" / "pg_hba.conf").open("a") as rules:
            rules.write(f"host all all {HERE}/30 trust\n")

    def distant_url(self, database: str) -> str:
        return f"postgresql://dq@{HERE}/{database}"
