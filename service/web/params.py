"""The query parameters of REST and the pages, in the grammars of the command line."""

import re
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal

from fastapi import Query
from sqlalchemy import ColumnElement

from models.database import Database
from models.errors import UsageError
from service.analysis.comparison import Comparison, compare
from service.analysis.curves import CurveSet, average
from service.analysis.factors import parse_by
from service.analysis.row_order import arrange
from service.queries.epoch_choice import EpochChoice, parse_epoch_choice
from service.queries.jobs import count_jobs, list_baseline_jobs, list_compared_jobs, list_curves
from service.queries.pages import Page, PageRequest, parse_sort, read_page
from service.queries.selectors import GRAMMAR, parse_selectors
from service.reports.comparison_table import comparison_table
from service.reports.table import Table

#: More runs take long to compare, and nobody could read their plot.
MAX_RUNS = 2000
#: The largest integer of an SQL column.
MAX_ID = 2**31 - 1

Metric = Literal["valid_accuracy", "valid_loss", "train_accuracy", "train_loss", "seconds"]
_NO_NUL = r"^[^\x00]*$"

_STATES = "state:(queued|running|succeeded|failed|cancelled)"
_SELECTOR = rf"(\d{{1,9}}(\.\.\d{{1,9}})?|s\d{{1,9}}|tag:[^,\x00]+|@last|{_STATES})"
#: The grammar of `service.queries.selectors`, for clients that read the OpenAPI document.
SELECTOR = rf"^( *{_SELECTOR} *( |,|$))*$"
#: Commas or spaces separate selectors; a space within a tag does not if no selector follows it.
_SEPARATOR = re.compile(r",|\s+(?=(\d|s\d|tag:|state:|@last))")

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
        pattern=_NO_NUL,
        description="Only jobs like this, as in dq results --where: lr < 0.05 and keep[0] == 0.9",
    ),
]
At = Annotated[str, Query(max_length=100, description="Metrics at final, best:METRIC or epoch:N")]


def split_selectors(jobs: str) -> list[str]:
    """Return the single selectors; raise UsageError for a character that no database stores."""
    if "\0" in jobs:
        raise UsageError("A selector has no NUL character: leave it out")
    return [part for part in map(str.strip, _SEPARATOR.sub(",", jobs).split(",")) if part]


@dataclass(frozen=True)
class SelectionParams:
    """Which jobs; all by default."""

    jobs: Jobs = ""
    where: Where = ""

    @property
    def is_all(self) -> bool:
        """Whether all jobs are selected."""
        return not (self.jobs.strip() or self.where.strip())

    @property
    def condition(self) -> ColumnElement[bool]:
        """The SQL condition; raises UsageError for a wrong selector or condition."""
        return parse_selectors(
            split_selectors(self.jobs), self.where if self.where.strip() else None
        )

    @property
    def query(self) -> dict[str, Any]:
        """The parameters that are not at their default, for an address."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        defaults = {field.name: field.default for field in fields(self)}
        return {name: value for name, value in given.items() if value != defaults[name]}


@dataclass(frozen=True)
class JobsParams(SelectionParams):
    """Which page of jobs, and in which order."""

    sort: Annotated[
        str, Query(max_length=50, description="METRIC, id, lr, ...; add :asc or :desc")
    ] = "id"
    at: At = "final"
    limit: Annotated[int, Query(ge=1, le=250)] = 50
    after: Annotated[
        str, Query(max_length=100, pattern=_NO_NUL, description="`next` of the page before")
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
class ComparisonParams(SelectionParams):
    """Which jobs to compare, and how."""

    metric: Metric = "valid_accuracy"
    baseline: Annotated[
        str,
        Query(
            max_length=200,
            pattern=_NO_NUL,
            description="A configuration's id, label, rate or condition; no dropout if empty",
        ),
    ] = ""
    by: Annotated[
        str,
        Query(max_length=200, description="Fields that make strata, to pool over: lr,hidden"),
    ] = ""
    at: At = "final"
    mix: Annotated[bool, Query(description="Compare across data sets and trainer versions")] = False
    fixed_seeds: Annotated[
        bool,
        Query(description="Student's t test: all seeds were submitted before the first result"),
    ] = False

    def read(self, database: Database) -> Comparison:
        """Return the comparison; raise UsageError if it has too many runs."""
        condition = self._check_size(database)
        runs = list_compared_jobs(database, condition, parse_epoch_choice(self.at))
        return compare(
            runs,
            self.metric,
            self.baseline or None,
            baseline_jobs=list_baseline_jobs(database, condition, self.baseline),
            by=parse_by(self.by) if self.by.strip() else (),
            mix=self.mix,
            fixed_seeds=self.fixed_seeds,
        )

    def make_table(self, comparison: Comparison) -> Table:
        """Return the comparison's table."""
        selector = None if self.where else ",".join(self.jobs.split())
        return comparison_table(comparison, str(parse_epoch_choice(self.at)), selector)

    def read_curves(self, database: Database, baseline: str | None = None) -> CurveSet:
        """Return the curves of the same jobs; `baseline` is a configuration's id."""
        return average(
            list_curves(database, self._check_size(database)),
            self.metric,
            baseline,
            mix=self.mix,
            fixed_seeds=self.fixed_seeds,
        )

    def _check_size(self, database: Database) -> ColumnElement[bool]:
        """Return the condition; raise UsageError if too many jobs meet it."""
        condition = self.condition
        jobs = count_jobs(database, condition)
        if jobs > MAX_RUNS:
            raise UsageError(
                f"{jobs:,} jobs are too many to compare: select up to {MAX_RUNS:,}, "
                "for instance those of a sweep: s7"
            )
        return condition


@dataclass(frozen=True)
class ComparisonPageParams(ComparisonParams):
    """A comparison, and how its page shows it."""

    sort: Annotated[
        str,
        Query(
            max_length=50, pattern=_NO_NUL, description="mean, diff, p, lr, ...; add :asc or :desc"
        ),
    ] = ""
    runs: Annotated[bool, Query(description="Draw single runs")] = False
    log: Annotated[bool, Query(description="A logarithmic axis")] = False

    def read(self, database: Database) -> Comparison:
        """Return the comparison with its rows in order."""
        return arrange(super().read(database), self.sort or None)
