"""What people write on jobs: tags and notes."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, delete, literal, select, update
from sqlalchemy.orm import Session

from models.database import Database, insert_missing
from models.errors import UsageError
from models.tables import Job, Tag
from service.jobs.batches import Jobs, OnProgress, change_in_batches, ignore_progress
from service.queries.selectors import ids_condition

LONGEST_NAME = 200
LONGEST_TAG = 100
LONGEST_NOTE = 10_000
_BULK = {"synchronize_session": False}


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


def add_tags(
    database: Database,
    which: ColumnElement[bool],
    tags: Sequence[str],
    on_progress: OnProgress = ignore_progress,
) -> int:
    """Put tags on jobs; return how many jobs were selected."""
    check_tags(tags)

    def add(session: Session, jobs: Jobs) -> int:
        these = ids_condition([job.id for job in jobs])
        for tag in dict.fromkeys(tags):
            rows = select(literal(tag), Job.id).where(these)
            session.execute(insert_missing(session, Tag).from_select(["tag", "job_id"], rows))
        return len(jobs)

    return sum(change_in_batches(database, which, add, on_progress))


def remove_tags(
    database: Database,
    which: ColumnElement[bool],
    tags: Sequence[str],
    on_progress: OnProgress = ignore_progress,
) -> int:
    """Take tags off jobs; return how many jobs were selected."""

    def remove(session: Session, jobs: Jobs) -> int:
        these = select(Job.id).where(ids_condition([job.id for job in jobs]))
        chosen = Tag.job_id.in_(these), Tag.tag.in_(tags)
        session.execute(delete(Tag).where(*chosen), execution_options=_BULK)
        return len(jobs)

    return sum(change_in_batches(database, which, remove, on_progress))


def write_note(
    database: Database,
    which: ColumnElement[bool],
    text: str,
    on_progress: OnProgress = ignore_progress,
) -> int:
    """Write a note on jobs, in the place of the one there was; return how many were selected."""
    _check_storable("The note", text)
    if len(text) > LONGEST_NOTE:
        raise UsageError(f"A note has at most {LONGEST_NOTE:,} characters, not {len(text):,}")

    def write(session: Session, jobs: Jobs) -> int:
        these = update(Job).where(ids_condition([job.id for job in jobs]))
        session.execute(these.values(note=text or None), execution_options=_BULK)
        return len(jobs)

    return sum(change_in_batches(database, which, write, on_progress))


def _check_storable(what: str, text: str) -> None:
    """Raise UsageError for what a database refuses: NUL, and halves of characters."""
    if "\0" in text or any("\ud800" <= char <= "\udfff" for char in text):
        raise UsageError(f"{what} {text!r:.100} has characters that are not text: leave them out")
