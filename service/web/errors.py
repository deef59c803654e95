"""Errors in one shape, the same sentence as JSON for programs and as a page for people."""

import logging
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from models.errors import BrokerUnreachable, DatabaseUnreachable, DqError, SchemaOutdated
from service.web.context import find_context
from service.web.forms import use_label
from service.web.public_url import route_path

log = logging.getLogger(__name__)

#: Five times a submit of a thousand specs.
MAX_BODY_BYTES = 1_000_000


class Problem(BaseModel):
    """What went wrong, and in `detail` what to do about it."""

    status: int
    title: str
    detail: str


class JobNotFound(DqError):
    """There is no job with this number."""


_HEADINGS = {
    401: "Sign in first",
    403: "This is not allowed",
    404: "There is nothing here",
    413: "This is too large",
    500: "Something went wrong",
    503: "dq cannot answer now",
}
#: What to say for pydantic's types of errors.
_VALIDATION_ERRORS = {
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
#: A longer value is not repeated.
_MAX_SHOWN = 60
BODY_TOO_LARGE = f"A request may have at most {MAX_BODY_BYTES:,} bytes: send it in parts"
#: What to say instead of the framework's few words.
_DETAILS = {
    "Not Found": "There is nothing at this address. Check it for a typing error.",
    "Method Not Allowed": (
        "This address does not take this method. The document at /api/v1/openapi.json lists both."
    ),
    "Content Too Large": BODY_TOO_LARGE,
}
#: What any route may answer besides what it is for.
RESPONSES: dict[int | str, dict[str, object]] = {
    400: {"model": Problem, "description": "The values do not make sense together"},
    413: {"model": Problem, "description": "The body is too large"},
    422: {"model": Problem, "description": "A value has the wrong type or is out of range"},
    503: {"model": Problem, "description": "The database or Redis does not answer"},
}
NOT_FOUND: dict[int | str, dict[str, object]] = {
    404: {"model": Problem, "description": "There is no job with this number"}
}
UNAUTHORIZED: dict[int | str, dict[str, object]] = {
    401: {"model": Problem, "description": "The token is missing or wrong"}
}


def add_error_handlers(app: FastAPI) -> None:
    """Answer every expected error of the application with a Problem."""
    for kind in (DqError, HTTPException, RequestValidationError):
        app.add_exception_handler(kind, handle_error)


def handle_error(request: Request, error: Exception) -> Response:
    """Answer an error with a Problem."""
    status, detail = _describe(error)
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else None
    if _wants_json(request):
        return problem_response(status, detail, headers)
    return find_context(request).render(
        request,
        "error.html",
        status,
        problem=_make_problem(status, use_label(detail)),
        heading=_HEADINGS.get(status, "That did not work"),
        fields=_list_fields(request),
    )


def problem_response(
    status: int, detail: str, headers: dict[str, str] | None = None
) -> JSONResponse:
    """Return an error as JSON."""
    return JSONResponse(_make_problem(status, detail).model_dump(), status, headers)


def _make_problem(status: int, detail: str) -> Problem:
    return Problem(status=status, title=HTTPStatus(status).phrase, detail=detail)


def _list_fields(request: Request) -> dict[str, str]:
    """Return the query of a page with a filter, to be corrected there."""
    if route_path(request.scope) not in {"/jobs", "/sweeps", "/compare"}:
        return {}
    fields = {"jobs": "", "where": "", **request.query_params}
    return {name: value for name, value in fields.items() if name != "after"}


def _wants_json(request: Request) -> bool:
    is_for_programs = route_path(request.scope).startswith(("/api/", "/healthz", "/readyz"))
    return is_for_programs or "html" not in request.headers.get("accept", "")


def _describe(error: Exception) -> tuple[int, str]:
    """Return the status and the detail; of an unexpected error only that it happened."""
    match error:
        case RequestValidationError():
            return _describe_validation(error)
        case HTTPException():
            return error.status_code, _DETAILS.get(error.detail, error.detail)
        case JobNotFound():
            return 404, str(error)
        case DatabaseUnreachable() | BrokerUnreachable() | SchemaOutdated():
            return 503, str(error)
        case DqError():
            return 400, str(error)
    log.error("A request failed", exc_info=error)
    return 500, "Something went wrong inside dq. The server's log has the details."


def _describe_validation(error: RequestValidationError) -> tuple[int, str]:
    """Describe a value of the wrong type (422), or values that make no sense together (400)."""
    errors = error.errors()
    first = errors[0]
    status = 400 if all(each["type"] == "value_error" for each in errors) else 422
    name = ".".join(str(part) for part in first["loc"] if part not in {"query", "path", "body"})
    if fix := _VALIDATION_ERRORS.get(first["type"]):
        what, value = fix.format(**first.get("ctx", {})), f" {first.get('input')!r}"
    else:
        what, value = first["msg"].removeprefix("Value error, "), ""
    return status, f"{name}{value if len(value) <= _MAX_SHOWN else ''}: {what}" if name else what
