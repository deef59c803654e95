import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from service.web.errors import MAX_BODY_BYTES
from service.web.middleware import (
    BodyLimitMiddleware,
    HostCheckMiddleware,
    SecurityHeadersMiddleware,
)


async def echo(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(len(await request.body())))


@pytest.fixture
def client() -> TestClient:
    app = Starlette(
        routes=[Route("/{path:path}", echo, methods=["GET", "POST"])],
        middleware=[
            Middleware(SecurityHeadersMiddleware),
            Middleware(HostCheckMiddleware, names=["queue.example"]),
            Middleware(BodyLimitMiddleware, max_body_size=MAX_BODY_BYTES),
        ],
    )
    return TestClient(app, base_url="http://localhost")


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:8765", "127.0.0.1:8765", "[::1]:8765", "192.0.2.7", "QUEUE.example"],
)
def test_the_server_answers_to_its_names_and_to_any_address(client, host):
    assert client.get("/", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["rebound.example", "localhost.rebound.example", "127.0.0.1.nip.io", "", "[", "a@localhost.x"],
)
def test_another_host_name_is_refused_since_dns_may_rebind_it(client, host):
    answer = client.get("/", headers={"host": host})

    assert answer.status_code == 421
    assert set(answer.json()) == {"status", "title", "detail"}
    assert "--allow-host" in answer.json()["detail"]


def test_a_body_is_refused_by_its_length_before_it_is_read(client):
    answer = client.post("/", content=b"x" * (MAX_BODY_BYTES + 1))

    assert answer.status_code == 413
    assert answer.json()["status"] == 413
    assert client.post("/", content=b"x" * MAX_BODY_BYTES).text == str(MAX_BODY_BYTES)


def test_a_body_without_a_length_is_cut_off(client):
    answer = client.post("/", content=(b"x" * 100_000 for _ in range(11)))

    assert answer.status_code == 413


@pytest.mark.parametrize("length", ["-1", "many", "1e3", ""])
def test_a_length_that_is_not_a_number_is_refused(client, length):
    assert client.post("/", headers={"content-length": length}).status_code == 413


@pytest.mark.parametrize("host", ["localhost", "rebound.example"])
def test_every_response_forbids_foreign_scripts_and_frames(client, host):
    headers = client.get("/", headers={"host": host}).headers

    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
