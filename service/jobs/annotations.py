"""What people write on jobs: tags and notes."""

from collections.abc import Callable, Iterable, Sequence

from sqlalchemy import ColumnElement, Executable, delete, literal, select, update
from sqlalchemy.orm import Session

from models.database import Database, insert_missing
from models.errors import UsageError
from models.tables import Job, Tag
from models.words import MAX_LENGTH, RULE, is_selectable
from service.jobs.batches import BULK, Jobs, OnProgress, change_in_batches, ignore_progress
from service.queries.selectors import ids_condition

MAX_NAME_LENGTH = 200
MAX_NOTE_LENGTH = 10_000


def check_name(name: str | None) -> None:
    """Raise UsageError for a name that is too long or cannot be stored."""
    _check_storable("--name", name or "")
    if name is not None and len(name) > MAX_NAME_LENGTH:
        raise UsageError(f"--name has {len(name)} characters: give at most {MAX_NAME_LENGTH}")


def check_tags(tags: Sequence[str]) -> None:
    """Raise UsageError for a tag that could not be selected by tag:NAME."""
    for tag in tags:
        if not is_selectable(tag):
            raise UsageError(f"{tag[:MAX_LENGTH]!r} is not a tag: {RULE}")


def add_tags(
    database: Database,
    which: ColumnElement[bool],
    tags: Sequence[str],
    on_progress: OnProgress = ignore_progress,
) -> int:
    """Put tags on jobs; return how many jobs were selected."""
    check_tags(tags)

    def insert(session: Session, these: ColumnElement[bool]) -> Iterable[Executable]:
        for tag in dict.fromkeys(tags):
            rows = select(literal(tag), Job.id).where(these)
            yield insert_missing(session, Tag).from_select(["tag", "job_id"], rows)

    return _execute_in_batches(database, which, insert, on_progress)


def remove_tags(
    database: Database,
    which: ColumnElement[bool],
    tags: Sequence[str],
    on_progress: OnProgress = ignore_progress,
) -> int:
    """Take tags off jobs; return how many jobs were selected."""

    def remove(_: Session, these: ColumnElement[bool]) -> Iterable[Executable]:
        yield delete(Tag).where(Tag.job_id.in_(select(Job.id).where(these)), Tag.tag.in_(tags))

    return _execute_in_batches(database, which, remove, on_progress)


def write_note(
    database: Database,
    which: ColumnElement[bool],
    text: str,
    on_progress: OnProgress = ignore_progress,
) -> int:
    """Replace the note of jobs, which an empty text removes; return how many were selected."""
    _check_storable("The note", text)
    if len(text) > MAX_NOTE_LENGTH:
        raise UsageError(f"A note has at most {MAX_NOTE_LENGTH:,} characters, not {len(text):,}")

    def write(_: Session, these: ColumnElement[bool]) -> Iterable[Executable]:
        yield update(Job).where(these).values(note=text or None)

    return _execute_in_batches(database, which, write, on_progress)


def _execute_in_batches(
    database: Database,
    which: ColumnElement[bool],
    make: Callable[[Session, ColumnElement[bool]], Iterable[Executable]],
    on_progress: OnProgress,
) -> int:
    """Execute what `make` returns for each batch of jobs; return how many jobs were selected."""

    def change(session: Session, jobs: Jobs) -> int:
        for statement in make(session, ids_condition([job.id for job in jobs])):
            session.execute(statement, execution_options=BULK)
        return len(jobs)

    return sum(change_in_batches(database, which, change, on_progress))


def _check_storable(what: str, text: str) -> None:
    """Raise UsageError for what a database refuses: NUL, and halves of characters."""
    if "\0" in text or any("\ud800" <= char <= "\udfff" for char in text):
        raise UsageError(f"{what} {text!r:.100} has characters that are not text: leave them out")
