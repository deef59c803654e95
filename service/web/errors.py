"""Errors in one shape: JSON for programs, a page for people, a sentence in both."""

import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from models.errors import BrokerUnreachable, DatabaseUnreachable, DqError, SchemaOutdated
from service.web.context import find_here
from service.web.forms import name_field
from service.web.public_url import own_path

log = logging.getLogger(__name__)

_UNAVAILABLE = (DatabaseUnreachable, BrokerUnreachable, SchemaOutdated)


class Problem(BaseModel):
    """What went wrong, and in `detail` what to do about it."""

    status: int
    title: str
    detail: str


class NotThere(DqError):
    """What was asked for by its number is not there."""


_HEADINGS = {
    401: "Sign in first",
    403: "This is not allowed",
    404: "There is nothing here",
    413: "This is too large",
    500: "Something went wrong",
    503: "dq cannot answer now",
}
#: What pydantic calls a fault, in the words of our other errors.
_FAULTS = {
    **dict.fromkeys(("int_parsing", "int_type", "int_from_float"), "give a whole number"),
    **dict.fromkeys(("float_parsing", "float_type"), "give a number"),
    "bool_parsing": "give true or false",
    "greater_than": "give more than {gt}",
    "greater_than_equal": "give at least {ge}",
    "less_than": "give less than {lt}",
    "less_than_equal": "give at most {le}",
    "literal_error": "give {expected}",
    "string_pattern_mismatch": "a character of it is not allowed",
    "string_too_long": "give at most {max_length} characters",
    "extra_forbidden": "there is no such field",
}
#: A value of more characters is not repeated.
_MOST_SHOWN = 60
#: What a bare status means.
_SENTENCES = {
    404: "There is nothing at this address. Check it for a typing error.",
    405: "This address does not take this method. The document at /api/v1/openapi.json lists both.",
}
#: What any route may answer besides what it is for.
ANSWERS: dict[int | str, dict[str, object]] = {
    400: {"model": Problem, "description": "The values do not make sense together"},
    413: {"model": Problem, "description": "The body is too large"},
    422: {"model": Problem, "description": "A value has the wrong type or is out of range"},
    503: {"model": Problem, "description": "The database or Redis does not answer"},
}
MISSING: dict[int | str, dict[str, object]] = {
    404: {"model": Problem, "description": "There is no job with this number"}
}
FORBIDDEN: dict[int | str, dict[str, object]] = {
    401: {"model": Problem, "description": "The token is missing or wrong"}
}


def answer_errors(app: FastAPI) -> None:
    """Have the application answer every error as a problem."""
    app.add_exception_handler(DqError, _answer)
    app.add_exception_handler(HTTPException, _answer)
    app.add_exception_handler(RequestValidationError, _answer)
    app.add_exception_handler(Exception, _answer)


def _answer(request: Request, error: Exception) -> Response:
    """Describe an error, as JSON or as a page."""
    problem = describe(error)
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    if _is_program(request):
        return JSONResponse(problem.model_dump(), problem.status, headers)
    problem = problem.model_copy(update={"detail": name_field(problem.detail)})
    asked = _list_asked(request)
    heading = _HEADINGS.get(problem.status, "That did not work")
    page = find_here(request).render(
        request, "error.html", problem=problem, heading=heading, asked=asked
    )
    page.status_code = problem.status
    return page


def _list_asked(request: Request) -> dict[str, str]:
    """Return what a list was asked for, to be put right there."""
    if own_path(request.scope) not in {"/jobs", "/sweeps", "/compare"}:
        return {}
    asked = {"jobs": "", "where": "", **request.query_params}
    return {name: value for name, value in asked.items() if name != "after"}


def _is_program(request: Request) -> bool:
    path = own_path(request.scope)
    return path.startswith("/api/") or path.endswith("z") or "html" not in _accepted(request)


def _accepted(request: Request) -> str:
    return request.headers.get("accept", "")


def describe(error: Exception) -> Problem:
    """Say what went wrong; of what nobody foresaw, only that it did."""
    status, detail = _read(error)
    return Problem(status=status, title=HTTPStatus(status).phrase, detail=detail)


def _read(error: Exception) -> tuple[int, str]:
    if isinstance(error, RequestValidationError):
        return _read_validation(error)
    if isinstance(error, HTTPException):
        is_bare = error.detail == HTTPStatus(error.status_code).phrase
        bare = _SENTENCES.get(error.status_code, error.detail)
        return error.status_code, bare if is_bare else error.detail
    if isinstance(error, NotThere):
        return 404, str(error)
    if isinstance(error, DqError):
        return (503 if isinstance(error, _UNAVAILABLE) else 400), str(error)
    log.error("A request failed", exc_info=error)
    return 500, "Something went wrong inside dq. The server's log has the details."


def _read_validation(error: RequestValidationError) -> tuple[int, str]:
    """Tell a value that is not of its kind (422) from some that do not go together (400)."""
    found = error.errors()
    first = found[0]
    where = ".".join(str(part) for part in first["loc"] if part not in {"query", "path", "body"})
    shown = repr(first.get("input"))
    given = f" {shown}" if len(shown) <= _MOST_SHOWN and first["type"] in _FAULTS else ""
    is_sense = all(each["type"] == "value_error" for each in found)
    what = _say_fault(first)
    return (400 if is_sense else 422), f"{where}{given}: {what}" if where else what


def _say_fault(error: Any) -> str:
    """Say what to give instead of a value of the wrong kind."""
    if fault := _FAULTS.get(error["type"]):
        return fault.format(**error.get("ctx", {}))
    words: str = error["msg"]
    return words.removeprefix("Value error, ")
