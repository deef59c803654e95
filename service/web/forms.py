"""The forms of the pages: what they send, and whether this server's own page sent it."""

import re
from collections.abc import Callable
from typing import Annotated, Any, TypeVar
from urllib.parse import parse_qs

from fastapi import Depends, HTTPException, Request

from models.errors import UsageError
from models.message import Priority
from models.spec import ExperimentSpec
from service.jobs import SubmitOptions
from service.specs.grid import Grid
from service.specs.options import parse_grid
from service.specs.parsing import parse_duration, parse_seed_range
from service.web.context import Context, ContextParam

_Value = TypeVar("_Value")
#: As `dq submit --max-crashes` takes it.
MAX_CRASHES = 1000
#: The labels of the fields whose errors name an option of another name.
LABELS = {
    "dropout": "Keep probabilities",
    "hidden": "Hidden layers",
    "lr": "Learning rate",
    "seed": "Seeds",
    "dataset": "Data set",
    "train_size": "Training images",
    "input_keep": "Keep probability of pixels",
    "mask": "Dropout mask",
    "lr_decay": "Learning rate decay",
    "evaluation": "Evaluate on",
    "timeout": "Time limit",
    "stall_timeout": "Stall limit",
    "max_crashes": "Crash limit",
}
#: The fields whose values are as in the spec, and which take several, as repeated options.
_AXES = [name for name in ExperimentSpec.model_fields if name not in {"keep", "hidden", "seed"}]
#: The fields under "More settings".
MORE_FIELDS = (
    *("momentum", "max_norm", "lr_decay", "input_keep", "mask", "evaluation", "precision"),
    *("timeout", "stall_timeout", "max_crashes", "keep_checkpoint"),
)


class Form(dict[str, str]):
    """What a form sent: one value for each name, "" for a name that it did not send."""

    def __missing__(self, name: str) -> str:
        return ""


async def read_form(request: Request) -> Form:
    """Read the body of a form. Starlette would want the package python-multipart for it."""
    body = (await request.body()).decode("utf-8", "replace")
    return Form({name: values[-1] for name, values in parse_qs(body).items()})


async def read_session_form(request: Request, context: ContextParam) -> Form:
    """Read a form of a session; refuse one that another site could have sent."""
    form = await read_form(request)
    check_origin(request, context)
    session = context.find_session(request)
    if not session:
        raise HTTPException(401, "You are not signed in, or no longer: sign in and try again")
    if not context.access.is_csrf_token(session, form["csrf_token"]):
        raise HTTPException(403, "This form is of an earlier session: reload it and try again")
    return form


def check_origin(request: Request, context: Context) -> None:
    """Refuse a request from a page of another site."""
    if not context.is_same_origin(request):
        raise HTTPException(
            403,
            "This form was sent from another address than this server's: behind a proxy start it "
            "with dq web --public-url ADDRESS",
        )


SessionForm = Annotated[Form, Depends(read_session_form)]


def read_specs(form: Form) -> Grid:
    """Read the grid of a submit, where spaces separate the values of a field.

    Raises UsageError, naming the option, for a value that is wrong.
    """
    seeds = form["seeds"].strip()
    axes: dict[str, Any] = {name: form[name].split() for name in _AXES}
    return parse_grid(
        dropout=form["dropout"].split(),
        drop=(),
        hidden=form["hidden"].split(),
        seed=(),
        seeds=_read_option(parse_seed_range, "seeds", seeds) if seeds else None,
        **axes,
    )


def read_options(form: Form) -> SubmitOptions:
    """Read the options of a submit."""
    tags = [tag.strip() for tag in form["tags"].split(",")]
    priority = form["priority"].upper()
    if priority and priority not in Priority.__members__:
        known = ", ".join(each.name.lower() for each in Priority)
        raise UsageError(f"--priority {priority.lower()}: give one of {known}")
    return SubmitOptions(
        name=form["name"].strip() or None,
        tags=tuple(tag for tag in tags if tag),
        # "normal" is what the form shows before anybody chooses.
        priority=Priority[priority] if priority not in {"", "NORMAL"} else None,
        **_read_limits(form),
        keep_checkpoint=bool(form["keep_checkpoint"]) or None,
        reuse=not form["force"],
    )


def _read_limits(form: Form) -> dict[str, Any]:
    """Read the limits of an attempt; those that are not given keep their defaults."""
    limits: dict[str, Any] = {}
    for name, option in (("timeout_seconds", "timeout"), ("stall_seconds", "stall_timeout")):
        if typed := form[option].strip():
            limits[name] = _read_option(parse_duration, option, typed)
    if typed := form["max_crashes"].strip():
        if not typed.isdecimal() or not 1 <= int(typed) <= MAX_CRASHES:
            raise UsageError(f"--max-crashes {typed}: write a number from 1 to {MAX_CRASHES:,}")
        limits["max_crashes"] = int(typed)
    return limits


def _read_option(read: Callable[[str], _Value], option: str, typed: str) -> _Value:
    """Read a value, and name its option in the error."""
    try:
        return read(typed)
    except UsageError as error:
        raise UsageError(f"--{option.replace('_', '-')} {error}") from None


def use_label(message: str) -> str:
    """Put a field's label in the place of the option that begins an error: "Learning rate x"."""
    found = re.match(r"--([a-z-]+)", message)
    if not found:
        return message
    name = found[1].replace("-", "_")
    label = LABELS.get(name, name.replace("_", " ").capitalize())
    return f"{label}{message[found.end() :]}"
