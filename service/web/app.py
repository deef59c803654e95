"""The application: routes, the gate before them, and errors in one shape."""

from collections.abc import Callable, Iterable
from importlib.metadata import version

from fastapi import FastAPI

from models.database import Database
from models.settings import Settings
from service.web import api, events, health, pages, static_files
from service.web.auth import Access
from service.web.context import Here
from service.web.errors import answer_errors
from service.web.heads import HeadAsGet
from service.web.middleware import Gate
from service.web.public_url import BasePath, PublicUrl


def make_app(
    settings: Settings,
    database: Database,
    access: Access,
    *,
    names: Iterable[str] = (),
    public: PublicUrl | None = None,
    is_stopping: Callable[[], bool] = lambda: False,
) -> FastAPI:
    """Return the application; it answers to `names`, and to its public one, besides its own."""
    app = FastAPI(
        title="dq",
        version=version("dq"),
        summary="A job queue for dropout experiments.",
        openapi_url="/api/v1/openapi.json",
        docs_url=None,  # these pages load their scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.here = Here(settings, database, access, is_stopping, public)
    app.state.pulse = events.Pulse()
    routers = (api.reads, api.writes, health.router, events.router, static_files.router)
    for router in (*routers, pages.router):
        app.include_router(router)
    answer_errors(app)
    app.add_middleware(HeadAsGet)
    app.add_middleware(Gate, names=(*names, *([public.name] if public else ())))
    app.add_middleware(BasePath, base=public.base if public else "")
    return app
