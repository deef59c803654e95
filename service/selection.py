"""Which jobs a person means: the words that name them, and a condition besides."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement

from service.selector import condition


def select(words: Sequence[str], where: str | None = None) -> ColumnElement[bool]:
    """Return the SQL condition for the jobs named by the words that also meet the condition.

    All jobs if there is neither. Raises UsageError for what is of neither grammar.
    """
    if where is None:
        return condition(words)
    from service.where import condition as parse

    return condition(words) & parse(where)
