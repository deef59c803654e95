"""`dq web` as a process: who can reach it, and how it stops."""

import json
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from servers import wait_until


def start(terminal, *words: str, **settings: str) -> tuple[Any, str]:
    """Start the page on any port; return its process and address."""
    web = terminal.start("web.log", "web", "--port", "0", *words, **settings)
    wait_until(lambda: "To act, open:" in terminal.read("web.log"), "the page is up", seconds=60)
    return web, re.search(r"dq is at (\S+)\. ", terminal.read("web.log"))[1]


def fetch(url: str, body: dict | None = None, **headers: str) -> Any:
    data = json.dumps(body).encode() if body else None
    headers = {"content-type": "application/json", **headers}
    with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=30) as answer:
        return json.load(answer)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_server_stops_within_two_seconds_despite_open_streams(terminal, number):
    web, url = start(terminal)
    streams = [urllib.request.urlopen(f"{url}/stream", timeout=30) for _ in range(3)]
    assert all(stream.readline() == b"event: hello\n" for stream in streams)

    seconds = terminal.stop(web, number)

    assert seconds < 2
    assert web.returncode == 0
    assert "The page is down." in terminal.read("web.log")
    assert "Traceback" not in terminal.read("web.log")


def test_the_printed_address_signs_in(terminal):
    _, url = start(terminal)
    login = re.search(r"To act, open: (\S+)", terminal.read("web.log"))[1]

    assert login.startswith(f"{url}/login?token=")
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    assert b"Sign out" in opener.open(login, timeout=30).read()
    assert b"Read-only" in urllib.request.urlopen(url, timeout=30).read()


def test_a_stream_sends_an_event_when_the_queue_changes(terminal):
    _, url = start(terminal)
    with urllib.request.urlopen(f"{url}/stream", timeout=30) as stream:
        assert read_lines(stream, 3) == [b"event: hello\n", b"data: 1\n", b"retry: 2000\n"]

        terminal.submit()
        submitted_at = time.monotonic()
        wait_until(lambda: b"event: change\n" in read_lines(stream, 1), "an event", seconds=30)

    assert time.monotonic() - submitted_at < 5


def read_lines(stream: Any, number: int) -> list[bytes]:
    return [stream.readline() for _ in range(number)]


def test_other_hosts_need_a_configured_token(terminal):
    for words in (("--host", "0.0.0.0"), ("--public-url", "https://dq.example.org/dq")):
        refused = terminal.dq("web", "--port", "0", *words)
        assert refused.returncode == 2
        assert f"{' '.join(words)} can be reached from other hosts: set DQ_WEB" in refused.stderr

    token = "a-token-of-the-tests"
    _, url = start(terminal, "--host", "0.0.0.0", "--allow-host", "queue", DQ_WEB_TOKEN=token)

    assert token not in terminal.read("web.log")
    assert fetch(f"{url}/api/v1/queue", host="queue")["running"] == []
    with pytest.raises(urllib.error.HTTPError, match="421"):
        fetch(f"{url}/api/v1/queue", host="elsewhere")
    bearing = {"authorization": f"Bearer {token}"}
    assert fetch(f"{url}/api/v1/jobs/cancel", {"jobs": "1"}, **bearing) == []


def test_a_port_in_use_is_named_in_the_error(terminal, taken):
    done = terminal.dq("web", "--port", str(taken))

    assert done.returncode == 1
    assert f"127.0.0.1:{taken} cannot be served" in done.stderr
    assert "Give another --port or --host" in done.stderr


@pytest.fixture
def taken() -> Iterator[int]:
    """A port in use."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


#: As in docs/web.md, but without TLS.
NGINX = """
daemon off; pid {folder}/pid; error_log stderr; events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{
    listen 127.0.0.1:{port};
    location /dq/ {{ proxy_pass {url}; }}
  }}
}}
"""


@pytest.fixture
def fetch_by_nginx(terminal) -> Callable[..., Any]:
    """Fetch pages as a browser behind nginx, with another host name and a base path.

    It keeps cookies, and sends the fields of a form.
    """
    if shutil.which("nginx") is None:
        pytest.skip("there is no nginx here: apt-get install nginx-light")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    origin = f"http://dq.example.org:{port}"
    start(terminal, "--public-url", f"{origin}/dq", DQ_WEB_TOKEN="a-token-of-the-tests")
    url = re.search(r"The proxy reaches it at (\S+)\.", terminal.read("web.log"))[1]
    conf = terminal.folder / "nginx.conf"
    conf.write_text(NGINX.format(folder=terminal.folder, port=port, url=url))
    terminal.started.append(subprocess.Popen(["nginx", "-c", conf], stderr=subprocess.DEVNULL))
    wait_until(lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0, "nginx is up")
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())

    def fetch_path(path: str, **form: str) -> Any:
        data = urllib.parse.urlencode(form).encode() if form else None
        headers = {"Origin": origin, "Accept": "text/html"}
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, headers)
        return opener.open(request, timeout=30)

    return fetch_path


def test_sessions_actions_and_events_work_behind_nginx(terminal, fetch_by_nginx):
    (job,) = terminal.submit()

    assert b"Sign out" in fetch_by_nginx("/dq/login", token="a-token-of-the-tests").read()
    page = fetch_by_nginx("/dq/submit").read().decode()
    token = re.search(r'name="csrf_token" value="(\w+)"', page)[1]
    with fetch_by_nginx("/dq/stream") as stream:
        assert read_lines(stream, 1) == [b"event: hello\n"]
        form = {"csrf_token": token, "jobs": str(job), "return_to": f"/jobs/{job}"}
        answer = fetch_by_nginx("/dq/act/cancel", **form)
        wait_until(lambda: b"event: change\n" in read_lines(stream, 1), "an event", seconds=30)

    assert answer.url.endswith(f"/dq/jobs/{job}")
    assert f"Job {job}: cancelled." in answer.read().decode()
    with pytest.raises(urllib.error.HTTPError, match="403"):
        fetch_by_nginx("/dq/act/cancel", csrf_token="another", jobs="1")


def test_dq_up_serves_the_page_until_it_stops(terminal):
    up = terminal.start("up.log", "up", "--workers", "1")
    wait_until(lambda: "and to act, open:" in terminal.read("up.log"), "the page is up", 60)
    url = re.search(r"open: (http\S+)/login", terminal.read("up.log"))[1]
    assert fetch(f"{url}/readyz") == {"database": "ok", "redis": "ok"}
    wait_until(lambda: fetch(f"{url}/api/v1/workers"), "the worker is up", 60)

    terminal.stop(up, signal.SIGINT)

    assert up.returncode == 0
    with pytest.raises(urllib.error.URLError):
        fetch(f"{url}/healthz")
