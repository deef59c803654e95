import json

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from service.web.middleware import MOST_BODY_BYTES, Gate


async def echo(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(len(await request.body())))


@pytest.fixture
def client() -> TestClient:
    app = Starlette(routes=[Route("/{path:path}", echo, methods=["GET", "POST"])])
    return TestClient(Gate(app, ["queue.example"]), base_url="http://localhost")


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:8765", "127.0.0.1:8765", "[::1]:8765", "192.0.2.7", "QUEUE.example"],
)
def test_its_names_and_addresses_are_let_in(client, host):
    assert client.get("/", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["rebound.example", "localhost.rebound.example", "127.0.0.1.nip.io", "", "[", "a@localhost.x"],
)
def test_a_name_of_another_site_is_not_since_dns_may_bind_it_to_this_host(client, host):
    answer = client.get("/", headers={"host": host})

    assert answer.status_code == 421
    assert "--allow-host" in answer.json()["detail"]


def test_a_body_is_refused_by_its_length_before_it_is_read(client):
    answer = client.post("/", content=b"x" * (MOST_BODY_BYTES + 1))

    assert answer.status_code == 413
    assert answer.json()["status"] == 413
    assert client.post("/", content=b"x" * MOST_BODY_BYTES).text == str(MOST_BODY_BYTES)


def test_a_body_that_does_not_tell_its_length_is_cut_off(client):
    answer = client.post("/", content=(b"x" * 100_000 for _ in range(11)))

    assert answer.status_code == 413


@pytest.mark.parametrize("length", ["-1", "many", "1e3", ""])
def test_a_length_that_is_no_number_is_refused(client, length):
    assert client.post("/", headers={"content-length": length}).status_code in {400, 413}


@pytest.mark.parametrize("host", ["localhost", "rebound.example"])
def test_every_answer_forbids_scripts_of_others_and_frames(client, host):
    headers = client.get("/", headers={"host": host}).headers

    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"


def test_only_fixed_files_are_kept_by_a_cache(client):
    assert client.get("/jobs").headers["cache-control"] == "no-store"
    assert "cache-control" not in client.get("/static/1/page.js").headers


def test_a_refusal_has_the_shape_of_all_errors(client):
    problem = json.loads(client.get("/", headers={"host": "other"}).text)

    assert set(problem) == {"status", "title", "detail"}
