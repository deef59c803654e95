"""What a query string asks for, in the words that the command line takes."""

import re
from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import Query
from sqlalchemy import ColumnElement

from models.database import Database
from models.errors import UsageError
from service.analysis.comparison import Comparison, compare
from service.analysis.curves import CurveSet, average
from service.queries.epoch_choice import EpochChoice, parse_epoch_choice
from service.queries.jobs import count_jobs, list_compared_jobs, list_curves
from service.queries.pages import Page, PageRequest, parse_sort, read_page
from service.queries.selectors import GRAMMAR, parse_selectors
from service.reports.comparison_table import comparison_table
from service.reports.table import Table

#: More runs than this make no picture, and keep everybody waiting.
MOST_RUNS = 2000
#: What SQL can hold of a whole number.
MOST_ID = 2**31 - 1

Metric = Literal["valid_accuracy", "valid_loss", "train_accuracy", "train_loss", "seconds"]
_TEXT = r"^[^\x00]*$"

_STATES = "state:(queued|running|succeeded|failed|cancelled)"
_SELECTOR = rf"(\d{{1,9}}(\.\.\d{{1,9}})?|s\d{{1,9}}|tag:[^,\x00]+|@last|{_STATES})"
#: The grammar of `service.queries.selectors`, for clients that read the OpenAPI document.
SELECTOR = rf"^( *{_SELECTOR} *( |,|$))*$"
#: Commas stand between selectors, or spaces; a tag may have spaces within, if no selector follows.
_BETWEEN = re.compile(r",|\s+(?=(\d|s\d|tag:|state:|@last))")

Jobs = Annotated[
    str,
    Query(
        max_length=1000,
        description=f"Which jobs: {GRAMMAR}; several with spaces or commas",
        json_schema_extra={"pattern": SELECTOR},
    ),
]
Where = Annotated[
    str,
    Query(
        max_length=10_000,
        pattern=_TEXT,
        description="Only jobs like this, as in dq results --where: lr < 0.05 and keep[0] == 0.9",
    ),
]
At = Annotated[str, Query(max_length=100, description="Metrics at final, best:METRIC or epoch:N")]


def split_words(jobs: str) -> list[str]:
    """Return the words that name jobs; raise UsageError for what no database holds."""
    if "\0" in jobs:
        raise UsageError("A selector has no NUL character: leave it out")
    return [part for part in map(str.strip, _BETWEEN.sub(",", jobs).split(",")) if part]


@dataclass(frozen=True)
class Selection:
    """Which jobs are asked for; all, if nothing is said."""

    jobs: Jobs = ""
    where: Where = ""

    @property
    def is_all(self) -> bool:
        """Whether nothing is said."""
        return not (self.jobs.strip() or self.where.strip())

    @property
    def condition(self) -> ColumnElement[bool]:
        """The SQL condition; raises UsageError for what is of neither grammar."""
        words = split_words(self.jobs)
        return parse_selectors(words, self.where if self.where.strip() else None)


@dataclass(frozen=True)
class PageAsk(Selection):
    """Which page of jobs."""

    sort: Annotated[
        str, Query(max_length=50, description="METRIC, id, lr, ...; add :asc or :desc")
    ] = "id"
    at: At = "final"
    limit: Annotated[int, Query(ge=1, le=250)] = 50
    after: Annotated[
        str, Query(max_length=100, pattern=_TEXT, description="`next` of the page before")
    ] = ""

    @property
    def epoch_choice(self) -> EpochChoice:
        """The epoch whose metrics are shown."""
        return parse_epoch_choice(self.at)

    def read(self, database: Database) -> Page:
        """Return the page."""
        request = PageRequest(
            parse_sort(self.sort), self.limit, self.epoch_choice, self.after or None
        )
        return read_page(database, self.condition, request)


@dataclass(frozen=True)
class ComparisonAsk(Selection):
    """Which jobs to compare by what."""

    metric: Metric = "valid_accuracy"
    baseline: Annotated[
        str,
        Query(max_length=200, description="A configuration's id or label; no dropout if empty"),
    ] = ""
    at: At = "final"
    mix: Annotated[bool, Query(description="Compare across data sets and trainer versions")] = False

    def read(self, database: Database) -> Comparison:
        """Return the comparison; raise UsageError if it is of too many runs."""
        which = self._measured_condition(database)
        runs = list_compared_jobs(database, which, parse_epoch_choice(self.at))
        return compare(runs, self.metric, self.baseline or None, mix=self.mix)

    def tabulate(self, comparison: Comparison) -> Table:
        """Return the comparison's table."""
        return comparison_table(comparison, str(parse_epoch_choice(self.at)))

    def read_curves(self, database: Database) -> CurveSet:
        """Return the curves of the same jobs."""
        return average(list_curves(database, self._measured_condition(database)), self.metric)

    def _measured_condition(self, database: Database) -> ColumnElement[bool]:
        which = self.condition
        jobs = count_jobs(database, which)
        if jobs > MOST_RUNS:
            raise UsageError(
                f"{jobs:,} jobs are too many to compare: select up to {MOST_RUNS:,}, "
                "for instance those of a sweep: s7"
            )
        return which


@dataclass(frozen=True)
class ComparisonView(ComparisonAsk):
    """The comparison as a page shows it: what its address says, and nothing else."""

    runs: Annotated[bool, Query(description="Draw single runs")] = False
    log: Annotated[bool, Query(description="A logarithmic axis")] = False
