"""What people write on jobs: tags and notes."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, delete, select, update

from models.database import Database
from models.errors import UsageError
from models.tables import Job, Tag

LONGEST_NAME = 200
LONGEST_TAG = 100
LONGEST_NOTE = 10_000


def check_name(name: str | None) -> None:
    """Raise UsageError for a name that is too long or cannot be stored."""
    _check_storable("--name", name or "")
    if name is not None and len(name) > LONGEST_NAME:
        raise UsageError(f"--name has {len(name)} characters: give at most {LONGEST_NAME}")


def check_tags(tags: Sequence[str]) -> None:
    """Raise UsageError for a tag that could not be selected by tag:NAME."""
    for tag in tags:
        if not tag or len(tag) > LONGEST_TAG or "," in tag or not tag.isprintable():
            raise UsageError(
                f"{tag[:LONGEST_TAG]!r} is not a tag: give 1 to {LONGEST_TAG} printable characters "
                "without a comma"
            )


def add_tags(database: Database, which: ColumnElement[bool], tags: Sequence[str]) -> int:
    """Put tags on jobs; return how many jobs were selected."""
    check_tags(tags)
    with database.writing() as session:
        ids = session.scalars(select(Job.id).where(which)).all()
        for job_id in ids:
            for tag in tags:
                session.merge(Tag(job_id=job_id, tag=tag))
        return len(ids)


def remove_tags(database: Database, which: ColumnElement[bool], tags: Sequence[str]) -> int:
    """Take tags off jobs; return how many jobs were selected."""
    with database.writing() as session:
        ids = session.scalars(select(Job.id).where(which)).all()
        chosen = Tag.job_id.in_(select(Job.id).where(which)), Tag.tag.in_(tags)
        session.execute(delete(Tag).where(*chosen))
        return len(ids)


def write_note(database: Database, which: ColumnElement[bool], text: str) -> int:
    """Write a note on jobs, in the place of the one there was; return how many were selected."""
    _check_storable("The note", text)
    if len(text) > LONGEST_NOTE:
        raise UsageError(f"A note has at most {LONGEST_NOTE:,} characters, not {len(text):,}")
    with database.writing() as session:
        ids = session.scalars(select(Job.id).where(which)).all()
        session.execute(update(Job).where(which).values(note=text or None))
        return len(ids)


def _check_storable(what: str, text: str) -> None:
    """Raise UsageError for what a database refuses: NUL, and halves of characters."""
    if "\0" in text or any("\ud800" <= char <= "\udfff" for char in text):
        raise UsageError(f"{what} {text!r:.100} has characters that are not text: leave them out")
