"""What all routes share: the database, the broker, browser sessions, and the rendering of pages."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any
from urllib.parse import quote, unquote

from fastapi import Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from models.database import Database
from models.settings import Settings
from service.jobs.broker import Broker
from service.web.auth import Access
from service.web.public_url import PublicUrl, route_path
from service.web.templating import make_url, open_templates

#: The cookie of the flash message: what an action did, for the next page to show once.
_MESSAGE = "dq-message"
_MAX_MESSAGE = 1000


@dataclass(frozen=True)
class Context:
    """What all routes of one server share."""

    settings: Settings
    database: Database
    access: Access
    #: Whether the event streams are to end.
    is_stopping: Callable[[], bool]
    #: The address at a reverse proxy.
    public: PublicUrl | None = None

    @cached_property
    def broker(self) -> Broker:
        """The connection to Redis."""
        return Broker(self.settings)

    def render(self, request: Request, name: str, status: int = 200, **values: Any) -> HTMLResponse:
        """Return a page from a template, with the message of the action before it."""
        session = self.find_session(request)
        path, query = route_path(request.scope), request.url.query
        message = unquote(request.cookies.get(_MESSAGE, ""))
        template = open_templates().get_template(name)
        text = template.render(
            values,
            path=path,
            return_to=f"{path}?{query}" if query else path,
            url=self.url,
            is_signed_in=bool(session),
            csrf_token=self.access.make_csrf_token(session) if session else "",
            message=message,
        )
        page = HTMLResponse(text, status)
        if message:
            page.delete_cookie(_MESSAGE, self._cookie_path)
        return page

    def url(self, path: str, **query: Any) -> str:
        """Return a page's address, which begins with the base path."""
        return f"{self.public.base if self.public else ''}{make_url(path, **query)}"

    def is_same_origin(self, request: Request) -> bool:
        """Whether a page of this server sent a request, by what browsers say of it."""
        host = request.headers.get("host")
        own = {None, f"http://{host}", f"https://{host}", self.public and self.public.origin}
        site = request.headers.get("sec-fetch-site", "same-origin")
        return request.headers.get("origin") in own and site == "same-origin"

    def find_session(self, request: Request) -> str:
        """Return the cookie of the request's session, or ""."""
        cookie = request.cookies.get(self.access.cookie, "")
        return cookie if cookie and self.access.is_open(cookie) else ""

    def sign_in(self, request: Request) -> RedirectResponse:
        """Open a session, and go to the first page."""
        response = RedirectResponse(self.url("/"), 303)
        is_secure = f"{self.public or request.url}".startswith("https:")
        self._set_cookie(response, self.access.cookie, self.access.open_session(), is_secure)
        return response

    def sign_out(self, response: RedirectResponse) -> RedirectResponse:
        """End the session."""
        response.delete_cookie(self.access.cookie, self._cookie_path)
        return response

    def redirect(self, path: str, message: str) -> RedirectResponse:
        """Go to a page of this server after an action, and show there what it did."""
        is_local = re.match(
            r"/(?![/\\\s])", path
        )  # browsers read "//", "/\" and "/<tab>/" as a host
        response = RedirectResponse(self.url(path if is_local else "/"), 303)
        self._set_cookie(response, _MESSAGE, quote(message[:_MAX_MESSAGE]))
        return response

    @property
    def _cookie_path(self) -> str:
        """The base path: what else the host of a proxy serves does not get the cookies."""
        return self.url("") or "/"

    def _set_cookie(
        self, response: RedirectResponse, name: str, value: str, is_secure: bool = False
    ) -> None:
        response.set_cookie(
            name,
            value,
            path=self._cookie_path,
            secure=is_secure,
            httponly=True,
            samesite="strict",
        )


def find_context(request: Request) -> Context:
    """Return the context of the server that got a request."""
    context: Context = request.app.state.context
    return context


ContextParam = Annotated[Context, Depends(find_context)]
