"""Each test starts the real server, in a home of its own."""

import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from kombu import Connection
from redis import Redis

from models import embedded_redis
from models.embedded_redis import LONGEST_SOCKET, EmbeddedRedis, find_server
from models.errors import BrokerUnreachable, DqError
from servers import wait_until

START = """
import sys
from pathlib import Path
from models.embedded_redis import EmbeddedRedis

print("ready", flush=True)
sys.stdin.readline()
print(EmbeddedRedis(Path(sys.argv[1])).ensure_running())
"""


@pytest.fixture(autouse=True)
def none_left(home: Path) -> Iterator[None]:
    """Stop every server that a test started below the folder its home is in."""
    yield
    for server in servers(home.parent):
        server.terminate()
    wait_until(lambda: not servers(home.parent), "the servers have ended")


@pytest.fixture
def long_home(monkeypatch: pytest.MonkeyPatch, home: Path) -> Path:
    """Return a home whose path is too long for a socket, with a temporary folder beside it."""
    temporary = home.parent / "tmp"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    return home / ("long" * 25)


def connect(redis: EmbeddedRedis) -> Redis:
    return Redis(unix_socket_path=str(redis.socket), socket_timeout=5)


def servers(folder: Path) -> list[psutil.Process]:
    """Return the servers whose socket lies in a folder, by the title they give themselves."""
    return [each for each in psutil.process_iter() if f":{folder}/" in title(each)]


def title(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        if process.status() != psutil.STATUS_ZOMBIE and "redis-server" in process.name():
            return " ".join(process.cmdline())
    return ""


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_it_starts_if_none_runs(home):
    redis = EmbeddedRedis(home)

    has_started = redis.ensure_running()

    assert has_started
    assert redis.is_running()
    assert connect(redis).ping()


def test_a_running_server_is_used(home):
    EmbeddedRedis(home).ensure_running()
    redis = EmbeddedRedis(home)

    has_started = redis.ensure_running()

    assert not has_started
    assert len(servers(home)) == 1


def test_it_listens_only_on_a_unix_socket_that_other_users_may_not_use(home):
    redis = EmbeddedRedis(home)

    redis.ensure_running()

    (server,) = servers(home)
    assert server.net_connections(kind="inet") == []
    assert redis.socket.is_socket()
    assert mode(redis.socket) == 0o700
    assert mode(redis.folder) == 0o700


def test_a_folder_that_others_could_enter_is_closed_to_them(home):
    redis = EmbeddedRedis(home)
    redis.folder.mkdir(parents=True, mode=0o755)

    redis.ensure_running()

    assert mode(redis.folder) == 0o700


def test_another_users_folder_is_refused_with_the_setting_to_change(home):
    if os.getuid() != 0:
        pytest.skip("only root can give a folder away")
    redis = EmbeddedRedis(home)
    redis.folder.mkdir(parents=True)
    os.chown(redis.folder, 65534, 65534)

    with pytest.raises(BrokerUnreachable, match=r"another user\. Set DQ_HOME"):
        redis.ensure_running()


def test_it_writes_every_message_to_disk_and_drops_none_when_full(home):
    redis = EmbeddedRedis(home)

    redis.ensure_running()

    client = connect(redis)
    assert client.info("persistence")["aof_enabled"] == 1
    assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


def test_a_long_home_moves_the_socket_to_a_private_folder_with_a_short_path(long_home):
    redis = EmbeddedRedis(long_home)

    redis.ensure_running()

    assert len(os.fsencode(redis.folder / "redis.sock")) > LONGEST_SOCKET
    assert len(os.fsencode(redis.socket)) < LONGEST_SOCKET
    assert redis.socket.is_socket()
    assert mode(redis.socket.parent) == 0o700
    assert (redis.folder / "appendonly.aof").exists()


def test_two_long_homes_have_two_sockets(long_home):
    one, other = EmbeddedRedis(long_home / "one"), EmbeddedRedis(long_home / "other")

    assert one.socket != other.socket
    assert one.socket == EmbeddedRedis(long_home / "one").socket


@pytest.mark.parametrize("name", ["a b", "50%41", "what?", "c#1", "größe", "quote'\""])
def test_the_url_leads_to_the_socket_whatever_the_name_of_the_home(home, name):
    redis = EmbeddedRedis(home / name)
    redis.ensure_running()

    with Connection(redis.url) as connection:
        queue = connection.SimpleQueue("q")
        queue.put("message")

    assert connect(redis).llen("q") == 1


def test_its_queue_survives_a_restart(home):
    redis = EmbeddedRedis(home)
    redis.ensure_running()
    connect(redis).rpush("dq", "one", "two")

    redis.stop()
    was_running = redis.is_running()
    redis.ensure_running()

    assert not was_running
    assert connect(redis).lrange("dq", 0, -1) == [b"one", b"two"]


def test_its_queue_survives_a_kill_and_the_next_process_starts_it_again(home):
    redis = EmbeddedRedis(home)
    redis.ensure_running()
    connect(redis).rpush("dq", "one", "two")
    (server,) = servers(home)

    server.send_signal(signal.SIGKILL)
    wait_until(lambda: not servers(home), "the server is dead")
    has_started = redis.ensure_running()

    assert has_started
    assert connect(redis).lrange("dq", 0, -1) == [b"one", b"two"]


def test_processes_that_start_it_at_once_get_one_server(home):
    starters = [
        subprocess.Popen(
            [sys.executable, "-c", START, str(home)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for starter in starters:
        assert starter.stdout.readline() == "ready\n"

    for starter in starters:
        starter.stdin.write("\n")
        starter.stdin.flush()
    answers = [starter.communicate(timeout=60)[0].strip() for starter in starters]

    assert sorted(answers) == ["False", "False", "False", "True"]
    assert len(servers(home)) == 1


def test_after_stop_no_process_is_left(home):
    redis = EmbeddedRedis(home)
    redis.ensure_running()

    redis.stop()

    assert not redis.is_running()
    wait_until(lambda: not servers(home), "the process has ended")


@pytest.mark.parametrize("obstacle", ["redis", "redis/redis.log/x"])
def test_a_server_that_cannot_start_is_an_error_for_people(home, obstacle):
    path = home / obstacle
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()

    with pytest.raises(DqError, match=str(home)):
        EmbeddedRedis(home).ensure_running()


@pytest.mark.parametrize("name", ["appendonly.aof", "dump.rdb"])
def test_a_queue_that_cannot_be_read_is_put_aside_with_a_warning(
    home: Path, name: str, caplog: pytest.LogCaptureFixture
):
    redis = EmbeddedRedis(home)
    redis.ensure_running()
    connect(redis).rpush("dq", "one")
    redis.stop()
    (redis.folder / "appendonly.aof").write_bytes(b"not what it was")
    (redis.folder / name).write_bytes(b"not what it was")

    redis.ensure_running()

    (aside,) = redis.folder.glob(f"{name}.2*")
    (line,) = caplog.messages
    assert connect(redis).llen("dq") == 0
    assert aside.read_bytes() == b"not what it was"
    assert str(aside) in line
    assert "Bad file format reading the append only file" in line
    assert "\n" not in line


def test_a_queue_that_is_not_the_cause_stays_in_place(home: Path, caplog: pytest.LogCaptureFixture):
    redis = EmbeddedRedis(home)
    redis.ensure_running()
    connect(redis).rpush("dq", "one")
    redis.stop()
    wait_until(lambda: not servers(home), "the process has ended")
    redis.socket.mkdir()

    with pytest.raises(BrokerUnreachable, match="Opening Unix socket: bind: Addr") as failed:
        redis.ensure_running()
    redis.socket.rmdir()
    redis.ensure_running()

    assert "\n" not in str(failed.value)
    assert connect(redis).lrange("dq", 0, -1) == [b"one"]
    assert caplog.messages == []


def test_files_of_a_dead_server_do_not_keep_the_next_one_from_starting(home: Path):
    redis = EmbeddedRedis(home)
    redis.folder.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(redis.socket))
    (redis.folder / "redis.pid").write_text("1\n")

    assert redis.ensure_running()


@pytest.mark.parametrize("trouble", ["hangs", "refuses"])
def test_no_second_server_is_started_beside_one_that_hangs_or_refuses(home: Path, trouble: str):
    redis = EmbeddedRedis(home)
    redis.ensure_running()
    (server,) = servers(home)

    if trouble == "hangs":
        server.suspend()
    else:
        connect(redis).config_set("requirepass", "a password")
    has_started = redis.ensure_running()
    server.resume()

    assert not has_started
    assert len(servers(home)) == 1


def test_a_folder_in_which_nothing_can_be_written_is_an_error_for_people(home: Path):
    redis = EmbeddedRedis(home)
    (redis.folder / "lock").mkdir(parents=True)  # root may write everywhere

    with pytest.raises(BrokerUnreachable, match=r"Is a directory.*Set DQ_HOME"):
        redis.ensure_running()


def test_a_server_on_the_path_is_used_if_the_wheel_has_none(monkeypatch, tmp_path):
    binary = tmp_path / "redis-server"
    binary.write_text("#!/bin/sh\n")
    binary.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(embedded_redis, "find_spec", lambda _: None)

    assert find_server() == str(binary)


def test_without_any_server_the_error_says_how_to_get_one(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(embedded_redis, "find_spec", lambda _: None)

    with pytest.raises(BrokerUnreachable, match="apt-get install redis-server, or set DQ_BROKER"):
        find_server()
