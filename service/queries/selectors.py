"""The selectors by which a person names jobs: 142, 140..151, s7, tag:paper, @mine, @last."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence

from sqlalchemy import ColumnElement, ScalarSelect, exists, func, or_, select, true, union_all

from models.database import Database
from models.errors import UsageError
from models.settings import Settings
from models.state import JobState
from models.tables import Job, Sweep, SweepMember, Tag

_jobs_of_sweep = Job.__table__.alias("own")

#: Ids are 32 bits wide.
_LARGEST_ID = 2**31 - 1
_MOST_DIGITS = 100

GRAMMAR = (
    "an id (142), a range (140..151), a sweep (s7), tag:NAME, state:failed, owner:NAME, @mine, "
    "or @last"
)


def parse_selectors(selectors: Sequence[str], where: str | None = None) -> ColumnElement[bool]:
    """Return the SQL condition for the jobs that any selector names and that meet `--where`.

    No selectors mean all jobs. Raises UsageError for a selector or a condition that cannot be read.
    """
    parts = split_selectors(selectors)
    named = or_(*(_parse_selector(part)[0] for part in parts)) if parts else true()
    if where is None:
        return named
    from service.queries.where import parse_where  # noqa: PLC0415 - only --where needs lark

    return named & parse_where(where)


def resolve_selectors(
    database: Database, selectors: Sequence[str], where: str | None = None
) -> ColumnElement[bool]:
    """Return the same condition; raise UsageError for a job, sweep or tag that does not exist.

    A state that no job is in, and a condition that no job meets, select no jobs.
    """
    which = parse_selectors(selectors, where)
    with database.reading() as session:
        for named, missing in map(_parse_selector, split_selectors(selectors)):
            if missing and not session.scalar(exists(Job.id).where(named).select()):
                raise UsageError(missing)
    return which


def split_selectors(selectors: Sequence[str]) -> list[str]:
    """Return the selectors one by one: a word may hold several, with commas between them.

    Raises UsageError for words that hold none at all.
    """
    parts = [part for word in selectors for part in word.split(",") if part]
    if selectors and not parts:  # `dq cancel "$JOBS"`, JOBS being empty, must not cancel all jobs
        raise UsageError(f"An empty word names no jobs: give {GRAMMAR}")
    return parts


def in_sweep(sweep: int | ScalarSelect[int]) -> ColumnElement[bool]:
    """Return the condition for the jobs a sweep made, and those it shares with earlier ones."""
    made = select(_jobs_of_sweep.c.id).where(_jobs_of_sweep.c.sweep_id == sweep)
    shared = select(SweepMember.job_id).where(SweepMember.sweep_id == sweep)
    return Job.id.in_(union_all(made, shared))  # an OR would keep both indexes from being used


def open_condition() -> ColumnElement[bool]:
    """Return the condition for the jobs that are queued or running."""
    return Job.state.in_([JobState.QUEUED, JobState.RUNNING])


def ids_condition(ids: Collection[int]) -> ColumnElement[bool]:
    """Return the condition for the jobs of these ids."""
    if len(ids) and max(ids) - min(ids) + 1 == len(set(ids)):
        return Job.id.between(min(ids), max(ids))  # a sweep: SQLite takes few bound values
    return Job.id.in_(ids)


def parse_id(digits: str) -> int:
    """Return an id, or the largest that a column holds in place of a larger one."""
    return min(int(digits), _LARGEST_ID) if len(digits) <= _MOST_DIGITS else _LARGEST_ID


def _parse_selector(selector: str) -> tuple[ColumnElement[bool], str | None]:
    """Return the condition, and an error for the case that no job meets it, if that is one."""
    shown = selector[:100]
    if selector == "@last":
        newest = select(func.max(Sweep.id)).scalar_subquery()
        return in_sweep(newest), "There is no sweep yet. Type: dq submit"
    if found := re.fullmatch(r"(\d+)", selector, re.ASCII):
        return Job.id == parse_id(found[1]), f"There is no job {shown}. Type: dq results"
    if found := re.fullmatch(r"(\d+)\.\.(\d+)", selector, re.ASCII):
        jobs = _parse_range(selector, *found.groups())
        return jobs, f"There are no jobs {shown}. Type: dq results"
    if found := re.fullmatch(r"s(\d+)", selector, re.ASCII):
        return in_sweep(parse_id(found[1])), f"There is no sweep {shown}. Type: dq results"
    if selector == "@mine":
        return _parse_owner(Settings.load().owner)
    kind, colon, value = selector.partition(":")
    if colon and (parse := _LABELS.get(kind)):
        return parse(value)
    raise UsageError(f"{selector!r} names no jobs: give {GRAMMAR}")


def _parse_range(selector: str, first: str, last: str) -> ColumnElement[bool]:
    if parse_id(first) > parse_id(last):
        raise UsageError(f"{selector} counts down and holds no job: write {last}..{first}")
    return Job.id.between(parse_id(first), parse_id(last))


def _parse_state(value: str) -> str:
    if value not in set(JobState):
        raise UsageError(f"Unknown state {value!r}: use one of {', '.join(JobState)}")
    return value


def _parse_tag(tag: str) -> tuple[ColumnElement[bool], str]:
    tagged = Job.id.in_(select(Tag.job_id).where(Tag.tag == tag))
    return tagged, f"No job has the tag {tag[:100]!r}. Type: dq results"


def _parse_owner(owner: str) -> tuple[ColumnElement[bool], str]:
    return Job.owner == owner, f"No job is of {owner[:100]!r}. Type: dq results"


_LABELS: Mapping[str, Callable[[str], tuple[ColumnElement[bool], str | None]]] = {
    "tag": _parse_tag,
    "owner": _parse_owner,
    "state": lambda state: (Job.state == _parse_state(state), None),
}
