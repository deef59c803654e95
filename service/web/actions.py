"""What a person does to jobs from the page or by REST: the use-cases of `service.jobs.changes`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from sqlalchemy import ColumnElement

from models.errors import UsageError
from models.spec import ExperimentSpec
from service import jobs
from service.jobs import Change, SubmitOptions, Submitted
from service.queries.selectors import GRAMMAR, parse_selectors
from service.web.context import Here, new_submit_token
from service.web.params import split_words

Action = Literal["cancel", "retry", "hold", "release"]

#: One request changes at most so many jobs' worth of specs.
MOST_SPECS = 1000


def act(here: Here, action: Action, selector: str) -> list[Change]:
    """Do something to the jobs that a selector names; raise UsageError if it names none."""
    words = split_words(selector)
    if not words:
        raise UsageError(f"Name some jobs: {GRAMMAR}")
    return _ACTIONS[action](here, parse_selectors(words))


def submit(
    here: Here, specs: Sequence[ExperimentSpec], order: SubmitOptions, token: str | None = None
) -> Submitted:
    """Queue specs; raise UsageError for none, or for more than one request may bring."""
    if not specs:
        raise UsageError("There is no job to submit: give at least one spec")
    if len(specs) > MOST_SPECS:
        raise UsageError(
            f"{len(specs):,} jobs are too many for one request: submit at most {MOST_SPECS:,}, "
            "or type: dq submit"
        )
    return jobs.submit(here.database, here.broker, specs, order, token or new_submit_token())


_ACTIONS: Mapping[Action, Callable[[Here, ColumnElement[bool]], list[Change]]] = {
    "cancel": lambda here, which: jobs.cancel(here.database, which),
    "retry": lambda here, which: jobs.retry(here.database, here.broker, which, from_scratch=False),
    "hold": lambda here, which: jobs.hold(here.database, which),
    "release": lambda here, which: jobs.release(here.database, here.broker, which),
}
