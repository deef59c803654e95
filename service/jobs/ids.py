"""Keeps SQLite from using the ids of deleted jobs again."""

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from models.tables import Job

# SQLite gives a new row the largest id there is, plus one. The largest there ever was is kept in
# `user_version`, a number in the file's header for programs to use.


def keep_newest_id(session: Session) -> None:
    """Store the newest job's id, before jobs are deleted."""
    if _is_sqlite(session):
        newest = session.scalar(select(func.max(Job.id))) or 0
        if newest > _read_newest_id(session):
            session.execute(text(f"PRAGMA user_version = {int(newest)}"))


def find_free_id(session: Session) -> int | None:
    """Return the id that the next job must have, or None where the database takes care of it."""
    if not _is_sqlite(session):
        return None
    newest = session.scalar(select(func.max(Job.id))) or 0
    stored = _read_newest_id(session)
    return stored + 1 if stored > newest else None


def _read_newest_id(session: Session) -> int:
    return int(session.scalar(text("PRAGMA user_version")) or 0)


def _is_sqlite(session: Session) -> bool:
    return session.get_bind().dialect.name == "sqlite"
