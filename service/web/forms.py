"""The forms of the pages: what they send, and that it is ours and not another site's."""

from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import parse_qs, urlsplit

from fastapi import Depends, HTTPException, Request

from models.errors import UsageError
from models.message import Priority
from service.grid import Grid
from service.jobs import Order
from service.spelling import read_seed_range
from service.typed_grid import read_grid, warn_of_low_keep
from service.web.here import Ours

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
    check_origin(request)
    session = here.find_session(request)
    if not session:
        raise HTTPException(401, "Acting needs a session: sign in with this server's token")
    if not here.access.bears_stamp(session, form["stamp"]):
        raise HTTPException(403, "The form is of an older session: load the page anew")
    return form


def check_origin(request: Request) -> None:
    """Refuse a request that a page of another site made."""
    origin = request.headers.get("origin")
    is_foreign = origin is not None and urlsplit(origin).netloc != request.headers.get("host")
    if is_foreign or request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
        raise HTTPException(403, "The form was sent by a page of another site")


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
        "seeds": read_seed_range(seeds) if seeds else None,
        **axes,
    }
    return read_grid(**options)


def read_order(form: Mapping[str, str]) -> Order:
    """Read what a submit asks for besides the specs."""
    name = form.get("name", "").strip()
    tags = [tag.strip() for tag in form.get("tags", "").split(",")]
    priority = form.get("priority", "").upper()
    if priority and priority not in Priority.__members__:
        known = ", ".join(each.name.lower() for each in Priority)
        raise UsageError(f"--priority {priority.lower()}: give one of {known}")
    return Order(
        name=name or None,
        tags=tuple(tag for tag in tags if tag),
        priority=Priority[priority] if priority else None,
        reuse=not form.get("force"),
    )


def warn(form: Mapping[str, str]) -> str | None:
    """Say how else the keep probabilities could be meant, if all are low."""
    return warn_of_low_keep(form.get("dropout", "").split())


def _read_number(name: str, word: str) -> float:
    option = f"--{name.replace('_', '-')}"
    try:
        return NUMBERS[name](word)
    except ValueError:
        raise UsageError(f"{option} {word}: write a number") from None
