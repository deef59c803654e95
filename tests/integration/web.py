"""The pages' application as the tests ask it: a real database, a real Redis, no network."""

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
    """Ask the application as a browser on this host does, or a proxy of its public address."""
    app = make_app(settings, database, Access(TOKEN), public=public)
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        client.headers["accept"] = "text/html"
        yield client


def sign_in(client: TestClient) -> str:
    """Open a session; return what its forms must carry."""
    assert client.get(f"/login?token={TOKEN}").status_code == 200
    page = client.get("/submit").text
    return page.partition('name="csrf_token" value="')[2].partition('"')[0]
