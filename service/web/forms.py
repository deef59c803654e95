"""The forms of the pages: what they send, and that it is ours and not another site's."""

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeVar
from urllib.parse import parse_qs

from fastapi import Depends, HTTPException, Request

from models.errors import UsageError
from models.message import Priority
from service.jobs import SubmitOptions
from service.specs.grid import Grid
from service.specs.options import parse_grid, warn_about_low_keep
from service.specs.parsing import parse_duration, parse_seed_range
from service.web.context import Here, Ours

_Value = TypeVar("_Value")
#: As `dq submit --max-crashes` takes it.
MOST_CRASHES = 1000
#: What the form calls the options that errors name.
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
#: The axes of the grid as the form of a submit names them, with what their values are read as.
NUMBERS: Mapping[str, type[int] | type[float]] = {
    "lr": float,
    "batch_size": int,
    "epochs": int,
    "train_size": int,
    "input_keep": float,
    "momentum": float,
    "max_norm": float,
    "lr_decay": float,
}
WORDS = ("dataset", "mask", "evaluation", "precision")
#: What the form shows once asked for more settings.
MORE = (
    *("momentum", "max_norm", "lr_decay", "input_keep", "mask", "evaluation", "precision"),
    *("timeout", "stall_timeout", "max_crashes", "keep_checkpoint"),
)


class Form(dict[str, str]):
    """What a form sent: one value a name, "" for what it did not send."""

    def __missing__(self, name: str) -> str:
        return ""


async def read_form(request: Request) -> Form:
    """Read what a form sent."""
    body = (await request.body()).decode("utf-8", "replace")
    return Form({name: values[-1] for name, values in parse_qs(body).items()})


async def read_own_form(request: Request, here: Ours) -> Form:
    """Read a form of a session of ours; refuse any that another site could have sent."""
    form = await read_form(request)
    check_origin(request, here)
    session = here.find_session(request)
    if not session:
        raise HTTPException(401, "You are not signed in, or no longer: sign in and try again")
    if not here.access.bears_stamp(session, form["stamp"]):
        raise HTTPException(403, "This form is of an earlier session: reload it and try again")
    return form


def check_origin(request: Request, here: Here) -> None:
    """Refuse a request that a page of another site made."""
    if not here.is_own_origin(request):
        raise HTTPException(
            403,
            "This form was sent from another address than this server's: behind a proxy start it "
            "with dq web --public-url ADDRESS",
        )


OwnForm = Annotated[Form, Depends(read_own_form)]


def read_specs(form: Mapping[str, str]) -> Grid:
    """Read the grid of a submit: values of an axis stand apart by spaces, as repeated options.

    Raises UsageError, naming the option, for what is none.
    """
    typed = {name: form.get(name, "").split() for name in (*NUMBERS, *WORDS)}
    axes: dict[str, list[Any]] = {
        name: [_read_number(name, word) for word in words] if name in NUMBERS else words
        for name, words in typed.items()
    }
    seeds = form.get("seeds", "").strip()
    options: dict[str, Any] = {
        "dropout": form.get("dropout", "").split(),
        "drop": (),
        "hidden": form.get("hidden", "").split(),
        "seed": (),
        "seeds": _read_option(parse_seed_range, "seeds", seeds) if seeds else None,
        **axes,
    }
    return parse_grid(**options)


def read_order(form: Mapping[str, str]) -> SubmitOptions:
    """Read what a submit asks for besides the specs."""
    name = form.get("name", "").strip()
    tags = [tag.strip() for tag in form.get("tags", "").split(",")]
    priority = form.get("priority", "").upper()
    if priority and priority not in Priority.__members__:
        known = ", ".join(each.name.lower() for each in Priority)
        raise UsageError(f"--priority {priority.lower()}: give one of {known}")
    return SubmitOptions(
        name=name or None,
        tags=tuple(tag for tag in tags if tag),
        # "normal" is what the form shows before anybody chooses.
        priority=Priority[priority] if priority not in {"", "NORMAL"} else None,
        **_read_limits(form),
        keep_checkpoint=bool(form.get("keep_checkpoint")) or None,
        reuse=not form.get("force"),
    )


def _read_limits(form: Mapping[str, str]) -> dict[str, Any]:
    """Read what ends an attempt; what is not given is as by default."""
    limits: dict[str, Any] = {}
    for name, option in (("timeout_seconds", "timeout"), ("stall_seconds", "stall_timeout")):
        if typed := form.get(option, "").strip():
            limits[name] = _read_option(parse_duration, option, typed)
    if typed := form.get("max_crashes", "").strip():
        if not typed.isdecimal() or not 1 <= int(typed) <= MOST_CRASHES:
            raise UsageError(f"--max-crashes {typed}: write a number from 1 to {MOST_CRASHES:,}")
        limits["max_crashes"] = int(typed)
    return limits


def _read_option(read: Callable[[str], _Value], option: str, typed: str) -> _Value:
    """Read what was typed; an error names the option."""
    try:
        return read(typed)
    except UsageError as error:
        raise UsageError(f"--{option.replace('_', '-')} {error}") from None


def name_field(message: str) -> str:
    """Put an error that names an option in the words of the form: "Learning rate x: ..."."""
    found = re.match(r"--([a-z-]+)", message)
    if not found:
        return message
    name = found[1].replace("-", "_")
    label = LABELS.get(name, name.replace("_", " ").capitalize())
    return f"{label}{message[found.end() :]}"


def warn(form: Mapping[str, str]) -> str | None:
    """Say how else the keep probabilities could be meant, if all are low."""
    return warn_about_low_keep(form.get("dropout", "").split())


def _read_number(name: str, word: str) -> float:
    option = f"--{name.replace('_', '-')}"
    try:
        return NUMBERS[name](word)
    except ValueError:
        kind = "a whole number" if NUMBERS[name] is int else "a number"
        raise UsageError(f"{option} {word}: write {kind}") from None
