"""A client of the application, with a real database, a real Redis and no network."""

from collections.abc import Iterator
from contextlib import contextmanager

from fastapi.testclient import TestClient

from models.database import Database
from models.settings import Settings
from service.web.app import make_app
from service.web.auth import Access
from service.web.public_url import PublicUrl

TOKEN = "a-token-of-the-tests"
BEARING = {"authorization": f"Bearer {TOKEN}"}


@contextmanager
def open_client(
    settings: Settings, database: Database, public: PublicUrl | None = None
) -> Iterator[TestClient]:
    """Open a client, as a browser on this host or a proxy with a public address."""
    app = make_app(settings, database, Access(TOKEN), public=public)
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        client.headers["accept"] = "text/html"
        yield client


def sign_in(client: TestClient) -> str:
    """Sign in; return the CSRF token of the session."""
    assert client.get(f"/login?token={TOKEN}").status_code == 200
    page = client.get("/submit").text
    return page.partition('name="csrf_token" value="')[2].partition('"')[0]
