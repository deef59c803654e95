"""Pages of jobs in any order; a page costs the same wherever in the list it is."""

import math
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Select, func, select, true, tuple_, type_coerce

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

#: The spec's fields that have one value, by which jobs can be sorted; with that value's kind.
_SPEC_FIELDS = {
    "dataset": str,
    "train_size": int,
    "lr": float,
    "batch_size": int,
    "epochs": int,
    "seed": int,
}

_BIGINT = 2**63
#: Where a number that is not given is sorted: after all that are.
_AFTER_ALL = 2**62


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
    """Which page of jobs: at most `limit` of those that follow the cursor `after`, or all."""

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
    """Some jobs in order; `next` is what to pass as `after` for the next page, None at the end."""

    rows: tuple[JobRow, ...]
    next: str | None


def parse_sort(text: str) -> Sort:
    """Read "valid_acc", "lr:asc"; a metric goes from the best on, all else from the highest on.

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
    """Return the selected jobs that come after the request's cursor, in its order."""
    sort, limit = request.sort, request.limit
    with database.reading() as session:
        found = session.execute(_select(which, request)).all()
    rows = tuple(make_job_row(job, epoch) for job, epoch, _ in found[:limit])
    if limit is None or len(found) <= limit:
        return Page(rows, None)
    return Page(rows, _cursor(rows[-1].job_id, sort, found[limit - 1][2]))


def _select(which: ColumnElement[bool], request: PageRequest) -> Select[Job, Epoch, Any]:
    """Select the jobs of a page and the first of the next, with what sorts them.

    The page is cut out before its jobs get their epochs, of which there may be millions.
    """
    chosen = _choose(which, request).subquery()
    job_id, value = chosen.c
    query = select(Job, Epoch, value).select_from(chosen).join(Job, job_id == Job.id)
    query = query.outerjoin(Epoch, request.epoch_choice.condition())
    return query.order_by(*_order((value, job_id), request.sort))


def _choose(which: ColumnElement[bool], request: PageRequest) -> Select[int, Any]:
    sort, epoch_choice = request.sort, request.epoch_choice
    value, job_id = key = _key(sort, epoch_choice)
    query = select(job_id.label("job_id"), value.label("value")).select_from(Job).where(which)
    if sort.is_metric:
        # Only succeeded jobs have a result; said twice, it saves a walk over those of all others.
        is_there = Job.state == JobState.SUCCEEDED if epoch_choice.is_final else true()
        joined = Result.job_id == Job.id if epoch_choice.is_final else epoch_choice.condition()
        query = query.join(Result if epoch_choice.is_final else Epoch, joined).where(is_there)
    if request.after:
        query = query.where(_follows(value, job_id, sort, request.after))
    return query.order_by(*_order(key, sort)).limit(request.limit and request.limit + 1)


def _order(key: tuple[Any, Any], sort: Sort) -> list[Any]:
    return [each.desc() if sort.is_descending else each for each in key]


def _key(sort: Sort, epoch_choice: EpochChoice) -> tuple[Any, Any]:
    """Return what sorts the jobs; of one table, so that an index can serve both."""
    if sort.is_metric:
        table = Result if epoch_choice.is_final else Epoch
        return getattr(table, sort.field), table.job_id
    if sort.field == "id":
        return Job.id, Job.id
    value = spec_columns.column(sort.field)
    if _SPEC_FIELDS[sort.field] is not int:
        return value, Job.id
    # NULL, which is all training images, has no place that both databases agree on.
    whole = func.coalesce(value, _AFTER_ALL) if spec_columns.is_nullable(sort.field) else value
    return type_coerce(whole, BigInteger()), Job.id


def _follows(value: Any, job_id: Any, sort: Sort, after: str) -> ColumnElement[bool]:
    try:
        there = _read_cursor(sort, after)
    except (ValueError, OverflowError):
        raise UsageError(f"--after {after}: give the value that the page before printed") from None
    here = tuple_(value, job_id)
    return here < there if sort.is_descending else here > there


def _read_cursor(sort: Sort, after: str) -> tuple[Any, int]:
    """Read what `_cursor` wrote; raise ValueError or OverflowError for anything else."""
    typed, comma, last = after.rpartition(",")
    job_id = int(last)
    place = _SPEC_FIELDS.get(sort.field, float)(typed) if sort.field != "id" else job_id
    if isinstance(place, str):
        is_possible = place in DATASETS
    else:
        is_possible = math.isfinite(place) and (isinstance(place, float) or abs(place) < _BIGINT)
    if not is_possible or abs(job_id) >= _BIGINT or (sort.field == "id" and comma):
        raise ValueError(after)
    return place, job_id


def _cursor(job_id: int, sort: Sort, value: Any) -> str:
    if sort.field == "id":
        return str(job_id)
    value = int(value) if _SPEC_FIELDS.get(sort.field) is int else value  # PostgreSQL's Decimal
    return f"{value if isinstance(value, str) else repr(value)},{job_id}"
