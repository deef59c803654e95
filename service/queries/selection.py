"""Which jobs a person means: the words that name them, and a condition besides."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, exists

from models.database import Database
from models.errors import UsageError
from models.tables import Job
from service.queries.selectors import condition, describe_missing, split_words


def select_jobs(words: Sequence[str], where: str | None = None) -> ColumnElement[bool]:
    """Return the SQL condition for the jobs named by the words that also meet the condition.

    All jobs if there is neither. Raises UsageError for what is of neither grammar.
    """
    if where is None:
        return condition(words)
    from service.queries.where import condition as parse

    return condition(words) & parse(where)


def find_jobs(
    database: Database, words: Sequence[str], where: str | None = None
) -> ColumnElement[bool]:
    """Return the same, and raise UsageError for a job, a sweep or a tag that does not exist.

    A state that no job is in, and a condition that none meets, select no jobs.
    """
    which = select_jobs(words, where)
    with database.reading() as session:
        for word in split_words(words):
            missing = describe_missing(word)
            if missing and not session.scalar(exists(Job.id).where(condition([word])).select()):
                raise UsageError(missing)
    return which
