"""The application: its routes, its middleware, and errors in one shape."""

from collections.abc import Callable, Iterable
from importlib.metadata import version

from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.middleware.errors import ServerErrorMiddleware

from models.database import Database
from models.settings import Settings
from service.web import api, events, health, pages
from service.web.auth import Access
from service.web.context import Context
from service.web.errors import MAX_BODY_BYTES, add_error_handlers, handle_error
from service.web.middleware import (
    BasePathMiddleware,
    BodyLimitMiddleware,
    HeadMiddleware,
    HostCheckMiddleware,
    SecurityHeadersMiddleware,
)
from service.web.public_url import PublicUrl
from service.web.static_files import make_static_app


def make_app(
    settings: Settings,
    database: Database,
    access: Access,
    *,
    names: Iterable[str] = (),
    public: PublicUrl | None = None,
    is_stopping: Callable[[], bool] = lambda: False,
) -> FastAPI:
    """Return the application; `names` are the host names it answers to besides its own."""
    app = FastAPI(
        title="dq",
        version=version("dq"),
        summary="A job queue for dropout experiments.",
        openapi_url="/api/v1/openapi.json",
        docs_url=None,  # these pages load their scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        middleware=[  # the outermost first
            Middleware(BasePathMiddleware, base=public.base if public else ""),
            Middleware(SecurityHeadersMiddleware),
            Middleware(ServerErrorMiddleware, handler=handle_error),
            Middleware(HostCheckMiddleware, names=[*names, *([public.host] if public else [])]),
            Middleware(BodyLimitMiddleware, max_body_size=MAX_BODY_BYTES),
            Middleware(HeadMiddleware),
        ],
    )
    app.state.context = Context(settings, database, access, is_stopping, public)
    app.state.streams = events.Streams()
    for router in (api.reads, api.writes, health.router, events.router, pages.router):
        app.include_router(router)
    app.mount("/static/{version}", make_static_app())
    add_error_handlers(app)
    return app
