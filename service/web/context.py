"""What every route needs: the database, the queue's end, who may act, and how pages are made."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote, unquote, urlsplit

from fastapi import Depends, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from models.database import Database
from models.settings import Settings
from service.web.auth import Access
from service.web.public_url import PublicUrl, own_path
from service.web.templating import open_templates, spell_url

if TYPE_CHECKING:  # it brings Celery, which nobody needs who only looks
    from service.jobs.broker import Broker

_TOLD = "dq-told"
_LONGEST_TOLD = 1000


@dataclass(frozen=True)
class Here:
    """One server's parts; `is_stopping` says whether its streams are to end."""

    settings: Settings
    database: Database
    access: Access
    is_stopping: Callable[[], bool]
    #: Where a proxy serves it.
    public: PublicUrl | None = None

    @cached_property
    def broker(self) -> "Broker":
        """The client's end of the queue."""
        from service.jobs.broker import Broker

        return Broker(self.settings)

    @cached_property
    def _templates(self) -> Any:
        return open_templates()

    def render(self, request: Request, template: str, **values: Any) -> HTMLResponse:
        """Make a page; what the action before it told is shown once."""
        session = self.find_session(request)
        told = unquote(request.cookies.get(_TOLD, ""))
        text = self._templates.get_template(template).render(
            path=own_path(request.scope),
            here=_spell_path(request),
            url=self.url,
            may_act=bool(session),
            stamp=self.access.stamp(session) if session else "",
            told=told,
            **values,
        )
        page = HTMLResponse(text)
        if told:
            page.delete_cookie(_TOLD, self._cookie_path)
        return page

    @property
    def base(self) -> str:
        """What all paths begin with."""
        return self.public.base if self.public else ""

    def url(self, path: str, **query: Any) -> str:
        """Return the address of a page of ours for a browser: under the base path."""
        return f"{self.base}{spell_url(path, **query)}"

    @property
    def _cookie_path(self) -> str:
        """What else the host of a proxy serves does not get the cookies."""
        return self.base or "/"

    def is_own_origin(self, request: Request) -> bool:
        """Whether a page of ours sent a request, by what browsers say of it."""
        host = request.headers.get("host")
        ours = {None, f"http://{host}", f"https://{host}", self.public and self.public.origin}
        site = request.headers.get("sec-fetch-site", "same-origin")
        return request.headers.get("origin") in ours and site == "same-origin"

    def find_session(self, request: Request) -> str:
        """Return the cookie of the request's session, "" if there is none."""
        cookie = request.cookies.get(self.access.cookie, "")
        return cookie if cookie and self.access.is_open(cookie) else ""

    def open_session(self, request: Request) -> RedirectResponse:
        """Let a browser act from now on, and show it the first page."""
        answer = RedirectResponse(self.url("/"), 303)
        answer.set_cookie(
            self.access.cookie,
            self.access.open_session(),
            path=self._cookie_path,
            httponly=True,
            samesite="strict",
            secure=f"{self.public or request.url}".startswith("https:"),
        )
        return answer

    def close_session(self, answer: RedirectResponse) -> RedirectResponse:
        """Keep a browser from acting from now on."""
        answer.delete_cookie(self.access.cookie, self._cookie_path)
        return answer

    def tell(self, path: str, told: str) -> RedirectResponse:
        """Go to a page of ours after an action, and say there what was done."""
        parts = urlsplit(path)
        is_ours = path.startswith("/") and not path.startswith(("//", "/\\")) and not parts.netloc
        answer = RedirectResponse(self.url(path if is_ours else "/"), 303)
        answer.set_cookie(
            _TOLD,
            quote(told[:_LONGEST_TOLD]),
            path=self._cookie_path,
            httponly=True,
            samesite="strict",
        )
        return answer


def _spell_path(request: Request) -> str:
    query = request.url.query
    path = own_path(request.scope)
    return f"{path}?{query}" if query else path


def find_here(request: Request) -> Here:
    """Return the parts of the server that got a request."""
    here: Here = request.app.state.here
    return here


def bearing_token(request: Request, here: Annotated[Here, Depends(find_here)]) -> None:
    """Refuse a request of REST without the token; a browser sends none by itself."""
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "bearer" or not here.access.admits(token.strip()):
        raise HTTPException(
            401,
            "This needs the server's token: send the header Authorization: Bearer TOKEN",
            {"WWW-Authenticate": "Bearer"},
        )


def new_submit_token() -> str:
    """Draw what makes a submit repeatable."""
    return secrets.token_hex(16)


Ours = Annotated[Here, Depends(find_here)]
