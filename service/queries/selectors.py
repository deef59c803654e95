"""The one grammar by which a person names jobs: 142, 140..151, s7, tag:paper, @last."""

import re
from collections.abc import Collection, Sequence

from sqlalchemy import ColumnElement, ScalarSelect, func, or_, select, true, union_all

from models.errors import UsageError
from models.state import JobState
from models.tables import Job, Sweep, SweepMember, Tag

_own = Job.__table__.alias("own")

#: Ids are 32 bits wide.
_LARGEST = 2**31 - 1
_MOST_DIGITS = 100

GRAMMAR = "an id (142), a range (140..151), a sweep (s7), tag:NAME, state:failed, or @last"


def condition(words: Sequence[str]) -> ColumnElement[bool]:
    """Return the SQL condition for the jobs that any of the words names; all jobs if none.

    A word may hold several with commas. Raises UsageError for one that is not of the grammar.
    """
    if not words:
        return true()
    return or_(*map(_one, split_words(words)))


def split_words(words: Sequence[str]) -> list[str]:
    """Return the single names in the words; raise UsageError if the words hold none at all."""
    parts = [part for word in words for part in word.split(",") if part]
    if words and not parts:  # `dq cancel "$JOBS"` with nothing in it must not be `dq cancel` of all
        raise UsageError(f"An empty word names no jobs: give {GRAMMAR}")
    return parts


def describe_missing(word: str) -> str | None:
    """Say that no job has this name; None for a state, which any number of jobs may be in."""
    word = word[:100]
    kind, _, value = word.partition(":")
    if kind == "state":
        return None
    if kind == "tag":
        return f"No job has the tag {value!r}. Type: dq results"
    if word == "@last":
        return "There is no sweep yet. Type: dq submit"
    if word.startswith("s"):
        return f"There is no sweep {word}. Type: dq results"
    return f"There {'are no jobs' if '..' in word else 'is no job'} {word}. Type: dq results"


def in_sweep(sweep: int | ScalarSelect[int]) -> ColumnElement[bool]:
    """Return the condition for the jobs a sweep made, and those it shares with earlier ones."""
    own = select(_own.c.id).where(_own.c.sweep_id == sweep)
    shared = select(SweepMember.job_id).where(SweepMember.sweep_id == sweep)
    return Job.id.in_(union_all(own, shared))  # an OR would keep both indexes from being used


def _one(word: str) -> ColumnElement[bool]:
    if word == "@last":
        return in_sweep(select(func.max(Sweep.id)).scalar_subquery())
    if found := re.fullmatch(r"(\d+)", word, re.ASCII):
        return Job.id == _number(found[1])
    if found := re.fullmatch(r"(\d+)\.\.(\d+)", word, re.ASCII):
        return _range(word, *found.groups())
    if found := re.fullmatch(r"s(\d+)", word, re.ASCII):
        return in_sweep(_number(found[1]))
    kind, colon, value = word.partition(":")
    if colon and kind == "tag":
        return Job.id.in_(select(Tag.job_id).where(Tag.tag == value))
    if colon and kind == "state":
        return Job.state == _state(value)
    raise UsageError(f"{word!r} names no jobs: give {GRAMMAR}")


def _range(word: str, first: str, last: str) -> ColumnElement[bool]:
    if _number(first) > _number(last):
        raise UsageError(f"{word} counts down and holds no job: write {last}..{first}")
    return Job.id.between(_number(first), _number(last))


def _number(digits: str) -> int:
    """Return an id; of those that no column of SQL holds, the largest that it does."""
    return min(int(digits), _LARGEST) if len(digits) <= _MOST_DIGITS else _LARGEST


def _state(value: str) -> str:
    if value not in set(JobState):
        raise UsageError(f"Unknown state {value!r}: use one of {', '.join(JobState)}")
    return value


def open_condition() -> ColumnElement[bool]:
    """Return the condition for the jobs that are queued or running."""
    return Job.state.in_([JobState.QUEUED, JobState.RUNNING])


def ids_condition(ids: Collection[int]) -> ColumnElement[bool]:
    """Return the SQL condition for the jobs of these ids."""
    if len(ids) and max(ids) - min(ids) + 1 == len(set(ids)):
        return Job.id.between(min(ids), max(ids))  # a sweep: SQLite takes few bound values
    return Job.id.in_(ids)
