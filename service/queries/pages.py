"""Pages of jobs in any order, by keyset: each page costs the same, however far down it is."""

import math
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Select, func, select, tuple_, type_coerce

from models.database import Database
from models.datasets import DATASETS
from models.errors import UsageError
from models.metrics import HIGHER_IS_BETTER
from models.state import JobState
from models.tables import Epoch, Job, Result
from service.queries import spec_columns
from service.queries.epoch_choice import FINAL, EpochChoice, expand_metric_name
from service.queries.job_rows import make_job_row
from service.queries.rows import JobRow

#: The fields of a spec, each of one value, by which jobs can be sorted.
_SPEC_FIELDS = {
    "dataset": str,
    "train_size": int,
    "lr": float,
    "batch_size": int,
    "epochs": int,
    "seed": int,
}

_BIGINT = 2**63
#: Sorts a number that is not given after all that are.
_LAST = 2**62


@dataclass(frozen=True)
class Sort:
    """By what jobs are sorted; the id decides between equals, in the same direction."""

    field: str = "id"
    is_descending: bool = True

    @property
    def is_metric(self) -> bool:
        """Whether the jobs are sorted by a metric: those without it are left out."""
        return self.field in HIGHER_IS_BETTER


@dataclass(frozen=True)
class PageRequest:
    """A page of jobs: at most `limit`, or all, of those that follow the cursor `after`."""

    sort: Sort = Sort()
    limit: int | None = 50
    epoch_choice: EpochChoice = FINAL
    after: str | None = None

    def __post_init__(self) -> None:
        """Raise UsageError for a sort by seconds at a chosen epoch: they are of all epochs."""
        if self.sort.field == "seconds" and not self.epoch_choice.is_final:
            raise UsageError("--sort seconds works with --at final only")


@dataclass(frozen=True)
class Page:
    """One page of jobs; `next` is the cursor of the page after it, None on the last page."""

    rows: tuple[JobRow, ...]
    next: str | None


def parse_sort(text: str) -> Sort:
    """Return the order that "valid_acc" or "lr:asc" means.

    Without a direction, a metric is sorted from its best value on, all else from the highest.
    Raises UsageError for an unknown name.
    """
    name, _, direction = text.partition(":")
    field = expand_metric_name(name)
    known = [*HIGHER_IS_BETTER, "id", *_SPEC_FIELDS]
    if field not in known or direction not in {"", "asc", "desc"}:
        raise UsageError(f"--sort {text}: give one of {', '.join(known)}, and :asc or :desc")
    is_descending = HIGHER_IS_BETTER.get(field, True)
    return Sort(field, direction == "desc" if direction else is_descending)


def read_page(database: Database, which: ColumnElement[bool], request: PageRequest) -> Page:
    """Return the page that is requested of the selected jobs."""
    limit = request.limit
    with database.reading() as session:
        found = session.execute(_select(which, request)).all()
    rows = tuple(make_job_row(job, epoch) for job, epoch, _ in found[:limit])
    if limit is None or len(found) <= limit:
        return Page(rows, None)
    return Page(rows, _write_cursor(request.sort, found[limit - 1][2], rows[-1].job_id))


def _select(which: ColumnElement[bool], request: PageRequest) -> Select[Job, Epoch, Any]:
    """Select the jobs of a page and the first of the next, with what sorts them.

    The page is cut out before its jobs get their epochs, of which there may be millions.
    """
    keys = _select_keys(which, request).subquery()
    job_id, value = keys.c
    query = select(Job, Epoch, value).select_from(keys).join(Job, job_id == Job.id)
    query = query.outerjoin(Epoch, request.epoch_choice.condition())
    return query.order_by(*_order((value, job_id), request.sort))


def _select_keys(which: ColumnElement[bool], request: PageRequest) -> Select[int, Any]:
    sort, epoch_choice = request.sort, request.epoch_choice
    value, job_id = key = _sort_key(sort, epoch_choice)
    query = select(job_id.label("job_id"), value.label("value")).select_from(Job).where(which)
    if sort.is_metric and epoch_choice.is_final:
        # Only succeeded jobs have a result; said twice, it saves a walk over those of all others.
        query = query.join(Result).where(Job.state == JobState.SUCCEEDED)
    elif sort.is_metric:
        query = query.join(Epoch, epoch_choice.condition())
    if request.after:
        here, after = tuple_(*key), _read_cursor(sort, request.after)
        query = query.where(here < after if sort.is_descending else here > after)
    return query.order_by(*_order(key, sort)).limit(request.limit and request.limit + 1)


def _order(key: tuple[Any, Any], sort: Sort) -> list[Any]:
    return [each.desc() if sort.is_descending else each for each in key]


def _sort_key(sort: Sort, epoch_choice: EpochChoice) -> tuple[Any, Any]:
    """Return what sorts the jobs; of one table, so that an index can serve both."""
    if sort.is_metric:
        table = Result if epoch_choice.is_final else Epoch
        return getattr(table, sort.field), table.job_id
    if sort.field == "id":
        return Job.id, Job.id
    value = spec_columns.column(sort.field)
    if _SPEC_FIELDS[sort.field] is not int:
        return value, Job.id
    # The two databases sort NULL, which means all training images, at different ends.
    integer = func.coalesce(value, _LAST) if spec_columns.is_nullable(sort.field) else value
    return type_coerce(integer, BigInteger()), Job.id


def _write_cursor(sort: Sort, value: Any, job_id: int) -> str:
    if sort.field == "id":
        return str(job_id)
    value = int(value) if _SPEC_FIELDS.get(sort.field) is int else value  # PostgreSQL's Decimal
    return f"{value if isinstance(value, str) else repr(value)},{job_id}"


def _read_cursor(sort: Sort, cursor: str) -> tuple[Any, int]:
    """Return the sort key of a cursor; raise UsageError for one that no page has."""
    try:
        return _parse_cursor(sort, cursor)
    except (ValueError, OverflowError):
        raise UsageError(f"--after {cursor}: give the value that the page before printed") from None


def _parse_cursor(sort: Sort, cursor: str) -> tuple[Any, int]:
    text, comma, digits = cursor.rpartition(",")
    job_id = int(digits)
    value = _SPEC_FIELDS.get(sort.field, float)(text) if sort.field != "id" else job_id
    if isinstance(value, str):
        is_possible = value in DATASETS
    else:
        is_possible = math.isfinite(value) and (isinstance(value, float) or abs(value) < _BIGINT)
    if not is_possible or abs(job_id) >= _BIGINT or (sort.field == "id" and comma):
        raise ValueError(cursor)
    return value, job_id
