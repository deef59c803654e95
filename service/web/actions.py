"""Actions on jobs from a page or by REST, which all commands have, too."""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Literal

from sqlalchemy import ColumnElement

from models.errors import UsageError
from models.spec import ExperimentSpec
from service import jobs
from service.jobs import Change, SubmitOptions, Submitted
from service.queries.selectors import GRAMMAR, parse_selectors
from service.web.context import Context
from service.web.params import split_selectors

Action = Literal["cancel", "retry", "hold", "release"]

#: The most jobs that one request submits.
MAX_SPECS = 1000
#: Of what is submitted on the page or by REST: its token does not say by whom.
OWNER = "web"


def apply(context: Context, action: Action, selector: str) -> list[Change]:
    """Apply an action to the selected jobs; raise UsageError if the selector is empty."""
    words = split_selectors(selector)
    if not words:
        raise UsageError(f"Name some jobs: {GRAMMAR}")
    return _ACTIONS[action](context, parse_selectors(words))


def submit(
    context: Context,
    specs: Sequence[ExperimentSpec],
    options: SubmitOptions,
    token: str | None = None,
) -> Submitted:
    """Submit specs; raise UsageError if there are none, or too many for one request."""
    if not specs:
        raise UsageError("There is no job to submit: give at least one spec")
    if len(specs) > MAX_SPECS:
        raise UsageError(
            f"{len(specs):,} jobs are too many for one request: submit at most {MAX_SPECS:,}, "
            "or type: dq submit"
        )
    ours = replace(options, owner=OWNER)
    return jobs.submit(
        context.database, context.broker, specs, ours, token or secrets.token_hex(16)
    )


_ACTIONS: Mapping[Action, Callable[[Context, ColumnElement[bool]], list[Change]]] = {
    "cancel": lambda context, which: jobs.cancel(context.database, which),
    "retry": lambda context, which: jobs.retry(
        context.database, context.broker, which, from_scratch=False
    ),
    "hold": lambda context, which: jobs.hold(context.database, which),
    "release": lambda context, which: jobs.release(context.database, context.broker, which),
}
