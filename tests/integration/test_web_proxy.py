"""The pages behind a reverse proxy: another name, a base path, and what no request may change."""

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from fastapi.testclient import TestClient

from integration import rows
from integration.rows import SPEC, submit
from integration.web import TOKEN, open_client, sign_in
from models.database import Database
from models.errors import UsageError
from models.settings import Settings
from service.web.public_url import read_public_url

PUBLIC = "https://dq.example.org/dq"
PAGES = ("/", "/sweeps", "/jobs", "/jobs/1", "/compare?jobs=s1", "/compare", "/submit", "/login")


@pytest.fixture
def backend() -> str:
    return "sqlite"


@pytest.fixture
def client(settings: Settings, database: Database) -> Iterator[TestClient]:
    """What a proxy passes on that keeps the path and names the server by its own address."""
    with open_client(settings, database, read_public_url(PUBLIC)) as opened:
        opened.base_url = "https://127.0.0.1:8765/dq"
        yield opened


def test_every_address_on_every_page_is_under_the_base_path(client, database):
    submit(database, SPEC)
    sign_in(client)

    found = set()
    for page in PAGES:
        text = client.get(page).text
        found |= set(re.findall(r'(?:href|src|action|data-stream)="(/[^"]*)"', text))

    assert all(each.startswith("/dq/") for each in found), found
    assert {"/dq/stream", "/dq/submit", "/dq/logout", "/dq/act/cancel"} <= found
    for address in found:
        if "/act/" not in address and "stream" not in address and "logout" not in address:
            path = urlsplit(address.replace("&amp;", "&").removeprefix("/dq")).geturl()
            assert client.get(path).status_code == 200, address


@pytest.mark.parametrize("prefix", ["/dq", ""])
@pytest.mark.parametrize("host", ["dq.example.org", "127.0.0.1:8765", "dq.example.org:443"])
def test_a_browser_signs_in_and_acts_however_the_proxy_names_the_server(
    client, database, prefix, host
):
    (job_id,) = submit(database, SPEC)
    client.base_url = f"http://127.0.0.1:8765{prefix}"
    client.headers |= {"host": host, "origin": "https://dq.example.org"}
    client.headers["sec-fetch-site"] = "same-origin"

    answer = client.post("/login", data={"token": TOKEN}, follow_redirects=False)
    assert answer.headers["location"] == "/dq/"
    cookie = answer.headers["set-cookie"]
    assert "Path=/dq;" in cookie
    assert "Secure" in cookie
    client.headers["cookie"] = cookie.partition(";")[0]
    token = re.search(r'name="csrf_token" value="(\w+)"', client.get("/jobs/1").text)[1]
    form = {"csrf_token": token, "jobs": str(job_id), "return_to": "/jobs/1"}
    answer = client.post("/act/cancel", data=form, follow_redirects=False)

    assert answer.headers["location"] == "/dq/jobs/1"
    assert "Path=/dq;" in answer.headers["set-cookie"]
    assert rows.states(database, [job_id]) == ["cancelled"]


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "http://dq.example.org"},
        {"origin": "https://dq.example.org:8443"},
        {"origin": "https://evil.example", "x-forwarded-host": "evil.example"},
        {"origin": "https://dq.example.org", "sec-fetch-site": "cross-site"},
    ],
)
def test_another_site_still_may_not_send_forms(client, headers):
    answer = client.post("/login", data={"token": TOKEN}, headers=headers)

    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("host", ["rebound.example", "dq.example.org.evil.example"])
def test_a_forwarded_name_lets_no_other_name_in(client, host):
    headers = {"host": host, "x-forwarded-host": "dq.example.org", "x-forwarded-prefix": "/x"}

    assert client.get("/", headers=headers).status_code == 421


def test_the_document_names_the_base_path(client):
    assert client.get("/api/v1/openapi.json").json()["servers"] == [{"url": "/dq"}]
    assert client.get("/api/v1/queue").status_code == 200
    assert client.get("/static/1/page.css").headers["cache-control"].endswith("immutable")


def test_events_are_not_kept_back_by_nginx(client):
    assert client.head("/stream").headers["x-accel-buffering"] == "no"


@pytest.mark.parametrize(
    "text",
    [
        *("", "dq.example.org", "/dq", "ftp://x/", "https://", "https://[::1", "https://x:port/"),
        *("https://x/?a=1", "https://x/#a", "https://user@x/", "https://x//dq"),
    ],
)
def test_what_is_no_address_is_refused_with_an_example(text):
    with pytest.raises(UsageError, match=r"write the whole address, such as https://dq\.example"):
        read_public_url(text)


@pytest.mark.parametrize(
    ("text", "origin", "base"),
    [
        ("https://DQ.example.org/dq/", "https://dq.example.org", "/dq"),
        ("http://dq.example.org:8080", "http://dq.example.org:8080", ""),
        ("https://[::1]:8443/a/b", "https://[::1]:8443", "/a/b"),
    ],
)
def test_an_address_is_read_into_what_browsers_send(text, origin, base):
    public = read_public_url(text)

    assert (public.origin, public.base) == (origin, base)
