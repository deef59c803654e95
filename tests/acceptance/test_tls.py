"""Redis and PostgreSQL that speak TLS alone, with certificates of an authority of the test's own.

The servers out of wheels, which all other tests use, are built without TLS.
"""

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
import trustme
from redis import Redis
from redis.exceptions import RedisError

from acceptance.conftest import Terminal
from servers import PostgresServer, RedisServer, free_port, short_folder, wait_until

SECRET = "pass/word@with:signs"
QUOTED = "pass%2Fword%40with%3Asigns"
BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
REDIS = shutil.which("redis-server", path="/usr/bin:/usr/local/bin")

pytestmark = [
    pytest.mark.skipif(not BINARIES, reason="no PostgreSQL with TLS: apt-get install postgresql"),
    pytest.mark.skipif(not REDIS, reason="no Redis with TLS: apt-get install redis-server"),
]


@dataclass
class Certificates:
    """The files of a server's certificate for localhost, and of who signed it."""

    folder: Path
    authority: trustme.CA

    def write(self) -> None:
        own = self.authority.issue_cert("localhost")
        own.cert_chain_pems[0].write_to_path(self.folder / "server.pem")
        own.private_key_pem.write_to_path(self.folder / "server.key")
        self.authority.cert_pem.write_to_path(self.folder / "authority.pem")
        trustme.CA().cert_pem.write_to_path(self.folder / "stranger.pem")
        for path in self.folder.iterdir():
            path.chmod(0o644)


class TlsRedis(RedisServer):
    """A redis-server with a password that takes TLS alone."""

    def __init__(self, folder: Path, certificates: Path) -> None:
        super().__init__(folder)
        self.certificates, self.port = certificates, free_port()

    def start(self) -> None:
        assert REDIS
        files = {"cert": "server.pem", "key": "server.key", "ca-cert": "authority.pem"}
        command = [REDIS, "--port", "0", "--tls-port", str(self.port), "--bind", "127.0.0.1"]
        command += ["--tls-auth-clients", "no", "--appendonly", "yes", "--requirepass", SECRET]
        for name, file in files.items():
            command += [f"--tls-{name}-file", str(self.certificates / file)]
        self._spawn(command)

    def _is_ready(self) -> bool:
        try:
            with Redis.from_url(self.url_with("authority.pem")) as client:
                return bool(client.ping())
        except RedisError:
            return False

    def url_with(self, authority: str, host: str = "localhost") -> str:
        """Return the value of DQ_BROKER_URL; with no authority those of the system are asked."""
        trusted = f"?ssl_ca_certs={self.certificates / authority}" if authority else ""
        return f"rediss://:{QUOTED}@{host}:{self.port}/0{trusted}"


class TlsPostgres(PostgresServer):
    """A PostgreSQL with a password that takes TLS alone."""

    def __init__(self, folder: Path, certificates: Path) -> None:
        super().__init__(folder)
        self.certificates, self.port = certificates, free_port()

    @property
    def _binaries(self) -> Path:
        return BINARIES[-1].parent

    def initialise(self) -> None:
        (self.folder / "password").write_text(SECRET)
        data, identity = self.folder / "data", self._identity
        (self.folder / "password").chmod(0o644)
        command = [self._binaries / "initdb", "-D", data, "-U", "dq", "-A", "scram-sha-256"]
        command += ["-E", "UTF8", "--locale=C", "--no-sync", f"--pwfile={self.folder / 'password'}"]
        subprocess.run(command, check=True, cwd=self.folder, capture_output=True, **identity)
        (data / "pg_hba.conf").write_text("hostssl all all 127.0.0.1/32 scram-sha-256\n")
        for name in ("server.pem", "server.key"):
            shutil.copy(self.certificates / name, data / name)
            (data / name).chmod(0o600)
            shutil.chown(data / name, identity.get("user"), identity.get("group"))

    def start(self) -> None:
        settings = ["listen_addresses=127.0.0.1", f"port={self.port}", "fsync=off", "ssl=on"]
        settings += ["ssl_cert_file=server.pem", "ssl_key_file=server.key"]
        options = [word for setting in settings for word in ("-c", setting)]
        command = [self._binaries / "postgres", "-D", self.folder / "data", "-k", self.folder]
        self._spawn([*command, *options], **self._identity)

    def _is_ready(self) -> bool:
        try:
            psycopg.connect(self.url_with("verify-full", "authority.pem")).close()
        except psycopg.OperationalError:
            return False
        return True

    def url_with(self, mode: str, authority: str, host: str = "localhost") -> str:
        trusted = f"sslmode={mode}&sslrootcert={self.certificates / authority}"
        return f"postgresql://dq:{QUOTED}@{host}:{self.port}/postgres?{trusted}"


@pytest.fixture(scope="module")
def certificates() -> Iterator[Path]:
    with short_folder("dq-tls-") as folder:
        folder.chmod(0o755)
        Certificates(folder, trustme.CA()).write()
        yield folder


@pytest.fixture(scope="module")
def redis(certificates: Path) -> Iterator[TlsRedis]:
    with short_folder("dq-redis-") as folder:
        server = TlsRedis(folder, certificates)
        server.start()
        yield server
        server.stop()


@pytest.fixture(scope="module")
def postgres(certificates: Path) -> Iterator[TlsPostgres]:
    with short_folder("dq-pg-") as folder:
        folder.chmod(0o755)
        server = TlsPostgres(folder, certificates)
        server.initialise()
        server.start()
        yield server
        server.stop()


@pytest.fixture
def settings(redis: TlsRedis, postgres: TlsPostgres) -> dict[str, str]:
    """The two variables by which dq trusts both servers."""
    return {
        "DQ_BROKER_URL": redis.url_with("authority.pem"),
        "DQ_DATABASE_URL": postgres.url_with("verify-full", "authority.pem"),
    }


def test_a_job_goes_all_the_way_over_tls_and_no_process_shows_a_password(
    terminal: Terminal, settings: dict[str, str]
):
    assert terminal.dq("db", "upgrade", **settings).returncode == 0
    worker = ["worker", "--device", "cpu", "--workers", "1"]
    terminal.start("worker.log", *worker, **settings)

    done = terminal.dq("submit", "--dataset", "digits", "--hidden", "16x2", "--wait", **settings)
    lines = wait_until(terminal.processes, "there are processes")
    doctor = terminal.dq("doctor", **settings)

    assert done.returncode == 0, done.stderr + terminal.read("worker.log")
    assert doctor.returncode == 0, doctor.stdout
    output = "".join([*lines, doctor.stdout, done.stderr, terminal.read("worker.log")])
    assert "supervise" in output
    assert SECRET not in output
    assert QUOTED not in output


@pytest.mark.parametrize(
    ("authority", "host"),
    [("stranger.pem", "localhost"), ("", "localhost"), ("authority.pem", "127.0.0.1")],
    ids=["other authority", "no authority", "other host"],
)
def test_a_redis_that_does_not_prove_to_be_the_right_one_is_not_spoken_to(
    terminal: Terminal, redis: TlsRedis, authority: str, host: str
):
    url = redis.url_with(authority, host)

    doctor = terminal.dq("doctor", "--ready", DQ_BROKER_URL=url)
    submitted = terminal.dq("submit", "--dataset", "digits", "--hidden", "16x2", DQ_BROKER_URL=url)

    assert doctor.returncode == 1
    assert "certificate verify failed" in doctor.stdout
    assert "Saved but not queued" in submitted.stderr
    assert QUOTED not in submitted.stderr + doctor.stdout
    assert SECRET not in submitted.stderr + doctor.stdout


def test_a_redis_that_wants_tls_is_not_reached_without(terminal: Terminal, redis: TlsRedis):
    url = redis.url_with("authority.pem").replace("rediss://", "redis://").partition("?")[0]

    doctor = terminal.dq("doctor", "--ready", DQ_BROKER_URL=url)

    assert doctor.returncode == 1
    assert SECRET not in doctor.stdout


@pytest.mark.parametrize(
    ("mode", "authority", "host"),
    [
        ("verify-full", "stranger.pem", "localhost"),
        ("verify-full", "authority.pem", "127.0.0.1"),
        ("verify-ca", "stranger.pem", "localhost"),
        ("disable", "authority.pem", "localhost"),
    ],
)
def test_a_database_that_is_not_the_trusted_one_is_unreachable_and_no_password_is_told(
    terminal: Terminal, postgres: TlsPostgres, mode: str, authority: str, host: str
):
    done = terminal.dq("status", DQ_DATABASE_URL=postgres.url_with(mode, authority, host))

    assert done.returncode == 3
    assert "does not answer" in done.stderr
    assert SECRET not in done.stderr
    assert QUOTED not in done.stderr
    assert "Traceback" not in done.stderr
