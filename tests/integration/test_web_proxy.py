"""The pages behind a reverse proxy, with another host name and a base path."""

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from fastapi.testclient import TestClient

from integration import rows
from integration.rows import SPEC, submit
from integration.web import TOKEN, open_client, sign_in
from models.database import Database
from models.settings import Settings
from service.web.public_url import read_public_url

PUBLIC = "https://dq.example.org/dq"
PAGES = ("/", "/sweeps", "/jobs", "/jobs/1", "/compare?jobs=s1", "/compare", "/submit", "/login")


@pytest.fixture
def backend() -> str:
    return "sqlite"


@pytest.fixture
def client(settings: Settings, database: Database) -> Iterator[TestClient]:
    """A proxy that keeps the base path, and sends the server's own address as the host."""
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
def test_the_page_of_an_unexpected_error_has_the_headers_and_links_of_other_pages(client, prefix):
    def fail() -> None:
        raise RuntimeError("the reason")

    client.app.add_api_route("/broken", fail)
    client.base_url = f"https://127.0.0.1:8765{prefix}"

    answer, other = client.get("/broken"), client.get("/jobs")

    assert (answer.status_code, other.status_code) == (500, 200)
    assert "Something went wrong inside dq" in answer.text
    assert "the reason" not in answer.text
    assert 'href="/dq/jobs"' in answer.text
    assert {**answer.headers, "content-length": ""} == {**other.headers, "content-length": ""}


@pytest.mark.parametrize("prefix", ["/dq", ""])
@pytest.mark.parametrize("host", ["dq.example.org", "127.0.0.1:8765", "dq.example.org:443"])
def test_a_browser_signs_in_and_acts_whatever_host_and_path_the_proxy_sends(
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
def test_another_site_cannot_send_forms(client, headers):
    answer = client.post("/login", data={"token": TOKEN}, headers=headers)

    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("host", ["rebound.example", "dq.example.org.evil.example"])
def test_forwarded_headers_do_not_allow_another_host(client, host):
    headers = {"host": host, "x-forwarded-host": "dq.example.org", "x-forwarded-prefix": "/x"}

    assert client.get("/", headers=headers).status_code == 421


def test_openapi_names_the_base_path(client):
    assert client.get("/api/v1/openapi.json").json()["servers"] == [{"url": "/dq"}]
    assert client.get("/api/v1/queue").status_code == 200
    assert client.get("/static/1/page.css").headers["cache-control"].endswith("immutable")


def test_nginx_does_not_buffer_events(client):
    assert client.head("/stream").headers["x-accel-buffering"] == "no"
