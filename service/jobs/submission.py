"""Submits specs: inserts the jobs of a sweep, and sends their messages."""

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from models.clock import now
from models.database import Database, insert_missing
from models.errors import DatabaseUnreachable
from models.message import JobMessage
from models.spec import ExperimentSpec
from models.state import JobState
from models.tables import Job, Owner, Sweep, SweepMember, Tag
from service.jobs.batches import BatchSize, give_way
from service.jobs.broker import Broker
from service.jobs.ids import find_free_id
from service.jobs.known_jobs import KnownJob, KnownJobs, key, lock_known
from service.jobs.publishing import list_messages, publish
from service.jobs.submit_options import COLUMNS, SubmitOptions, apply_options, list_notes


@dataclass(frozen=True)
class Submitted:
    """The jobs of a sweep: the new ones, and those that existed before.

    `publish_error` says why no message was sent, or is None.
    """

    sweep_id: int
    created: tuple[int, ...]
    #: Finished before, by the same version of the trainer.
    finished_before: tuple[int, ...]
    #: Queued or running before.
    open_before: tuple[int, ...]
    publish_error: str | None
    #: Sentences that say which options have no effect on jobs that existed before.
    notes: tuple[str, ...] = ()

    @property
    def job_ids(self) -> tuple[int, ...]:
        """All of them."""
        return tuple(sorted({*self.created, *self.finished_before, *self.open_before}))


@dataclass(frozen=True)
class SubmitProgress:
    """How far a submit is: how many of its specs are saved, and how many messages are sent."""

    sweep_id: int
    specs: int
    saved: int
    sent: int


def submit(
    database: Database,
    broker: Broker,
    specs: Sequence[ExperimentSpec],
    options: SubmitOptions,
    token: str,
    *,
    on_progress: Callable[[SubmitProgress], None] = lambda _: None,
) -> Submitted:
    """Insert the jobs of a sweep and send their messages, one batch of specs after another.

    A batch is committed before its messages are sent. If Redis does not answer, the jobs stay, and
    a worker sends their messages later. `token` makes a submit repeatable: a second one with the
    same token inserts what the first did not.
    """
    size, known, saved, sent, error = BatchSize(), KnownJobs(), 0, 0, None
    if options.reuse and len(specs) > size.jobs:
        known.look_ahead(database, specs)
    while True:
        batch, started_at = specs[saved : saved + size.jobs], time.monotonic()
        sweep_id, messages = _insert(database, _Batch(batch, saved, options, token, known))
        size.learn(time.monotonic() - started_at)
        saved += len(batch)
        on_progress(SubmitProgress(sweep_id, len(specs), saved, sent))
        error = error or publish(broker, messages)
        sent += 0 if error else len(messages)
        on_progress(SubmitProgress(sweep_id, len(specs), saved, sent))
        if saved >= len(specs):
            return _read(database, sweep_id, options, error)
        if error or not messages:  # else other writers had the time that the messages took
            give_way(database)


@dataclass(frozen=True)
class _Batch:
    """Some of the specs of a submit; the first has the number `first`."""

    specs: Sequence[ExperimentSpec]
    first: int
    options: SubmitOptions
    token: str
    known: KnownJobs

    @property
    def last(self) -> int:
        return self.first + len(self.specs) - 1


def _insert(database: Database, batch: _Batch) -> tuple[int, Sequence[JobMessage]]:
    """Insert the rows; return the sweep, and the messages to be sent.

    Repeated if the answer to a commit was lost, or while that commit is still under way.
    """
    # Made beforehand, to hold the database for less time.
    rows = [_row(spec, number, batch) for number, spec in enumerate(batch.specs, batch.first)]
    for _ in range(2):
        with suppress(DatabaseUnreachable, IntegrityError):
            return _insert_once(database, batch, rows)
    return _insert_once(database, batch, rows)


def _insert_once(
    database: Database, batch: _Batch, rows: Sequence[dict[str, Any]]
) -> tuple[int, Sequence[JobMessage]]:
    options = batch.options
    with database.writing() as session:
        if options.reuse:
            lock_known(session)
        sweep_id = _find_sweep(session, batch)
        session.execute(insert_missing(session, Owner), {"name": options.owner})
        own = Job.sweep_id == sweep_id, Job.ordinal.between(batch.first, batch.last)
        inserted = set(session.scalars(select(Job.ordinal).where(*own)))
        missing = [
            (row, spec)
            for row, spec in zip(rows, batch.specs, strict=True)
            if row["ordinal"] not in inserted
        ]
        specs = [spec for _, spec in missing]
        known = batch.known.find(session, specs, excluded_sweep=sweep_id) if options.reuse else {}
        _insert_jobs(session, sweep_id, [row for row, spec in missing if key(spec) not in known])
        shared = _insert_members(session, sweep_id, known.values())
        apply_options(session, shared, options)
        created = session.scalars(select(Job.id).where(*own)).all()
        _insert_tags(session, [*created, *shared], options.tags)
        return sweep_id, list_messages(session, created)


def _find_sweep(session: Session, batch: _Batch) -> int:
    """Return the submit's sweep, which the first batch creates."""
    found = session.scalar(select(Sweep.id).where(Sweep.submit_token == batch.token))
    if found is not None:
        return found
    sweep = Sweep(submit_token=batch.token, name=batch.options.name, created_at=now())
    session.add(sweep)
    session.flush()
    return sweep.id


def _insert_jobs(session: Session, sweep_id: int, rows: Sequence[dict[str, Any]]) -> None:
    if not rows:
        return
    free = find_free_id(session)
    if free is not None:
        rows = [{**row, "id": job_id} for job_id, row in enumerate(rows, free)]
    jobs = Job.metadata.tables[Job.__tablename__]
    common = {"sweep_id": sweep_id, "created_at": now()}
    session.execute(insert(jobs).values(common), rows)


def _insert_members(session: Session, sweep_id: int, known: Iterable[KnownJob]) -> Sequence[int]:
    """Add known jobs to the sweep; return them."""
    shared = sorted({job.job_id for job in known})
    if shared:
        members = [{"sweep_id": sweep_id, "job_id": job_id} for job_id in shared]
        session.execute(insert_missing(session, SweepMember), members)
    return shared


def _insert_tags(session: Session, job_ids: Sequence[int], tags: Sequence[str]) -> None:
    rows = [{"job_id": job_id, "tag": tag} for job_id in job_ids for tag in dict.fromkeys(tags)]
    if rows:
        session.execute(insert_missing(session, Tag), rows)


def _row(spec: ExperimentSpec, ordinal: int, batch: _Batch) -> dict[str, Any]:
    return {
        "ordinal": ordinal,
        "name": batch.options.name,
        "owner": batch.options.owner,
        "spec": spec.model_dump(mode="json"),
        "configuration": spec.configuration,
        "shape": spec.shape,
        "state": JobState.QUEUED,
        **batch.options.columns,
    }


def _read(
    database: Database, sweep_id: int, options: SubmitOptions, error: str | None
) -> Submitted:
    created = select(Job.id).where(Job.sweep_id == sweep_id).order_by(Job.id)
    shared = (
        select(*COLUMNS).join(SweepMember).where(SweepMember.sweep_id == sweep_id).order_by(Job.id)
    )
    with database.reading() as session:
        known = session.execute(shared).all()
        return Submitted(
            sweep_id=sweep_id,
            created=tuple(session.scalars(created)),
            finished_before=tuple(job.id for job in known if job.state == JobState.SUCCEEDED),
            open_before=tuple(job.id for job in known if job.state != JobState.SUCCEEDED),
            publish_error=error,
            notes=tuple(list_notes(known, options)),
        )
