"""The worker's writes: each belongs to one attempt and is refused once its lease was lost."""

import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from sqlalchemy import and_, bindparam, func, insert, literal, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, aliased
from sqlalchemy.sql.dml import ReturningInsert

from models import lifecycle
from models.database import Database, insert_missing
from models.errors import DatabaseUnreachable, ValueRefused
from models.metrics import EPOCH_METRICS, EpochMetrics
from models.provenance import Provenance
from models.spec import TRAINER_VERSION, ExperimentSpec
from models.state import JobState, Outcome
from models.tables import Epoch, Job, Result
from worker.execution import claims
from worker.execution.claims import Claim
from worker.execution.ending import CANCELLED, LEASE_LOST, Ending, ending_of
from worker.throttled_log import ThrottledLog

logger = logging.getLogger(__name__)
_RETRY_SECONDS = 1.0
_P = ParamSpec("_P")
_R = TypeVar("_R")

# The statements of every job are made once: making one takes longer than running it.

_RUNNING = Job.id.in_(bindparam("job_ids", expanding=True)), Job.state == JobState.RUNNING
_FIND_CANCELLED = select(Job.id, Job.attempt, Job.cancel_requested).where(*_RUNNING)
# In one order everywhere: transactions that lock several rows never wait in a circle.
_HOLD = select(Job.id, Job.attempt).where(*_RUNNING).order_by(Job.id).with_for_update()


def _make_add_results() -> ReturningInsert[int]:
    each, results = aliased(Epoch), Result.metadata.tables[Result.__tablename__]
    seconds = select(func.sum(each.seconds)).where(each.job_id == Job.id).scalar_subquery()
    final = [getattr(Epoch, name) for name in EPOCH_METRICS]
    is_last = and_(Epoch.job_id == Job.id, Epoch.epoch == Job.spec["epochs"].as_integer())
    measured = select(Job.id, Job.attempt, literal(TRAINER_VERSION), seconds, *final)
    measured = measured.join(Epoch, is_last).where(*_RUNNING)
    names = ["job_id", "attempt", "trainer_version", "seconds", *EPOCH_METRICS]
    return insert(results).from_select(names, measured).returning(results.c.job_id)


_ADD_RESULTS = _make_add_results()


@dataclass(frozen=True)
class AttemptStart:
    """What an attempt runs on, and where in its training it starts."""

    provenance: Provenance
    epochs_done: int
    batches_done: int = 0

    def __str__(self) -> str:
        if not self.epochs_done and not self.batches_done:
            return "resumed from scratch: no usable checkpoint"
        batch = f", batch {self.batches_done}" if self.batches_done else ""
        return f"resumed from epoch {self.epochs_done}{batch}"


@dataclass(frozen=True)
class AttemptUpdate:
    """What happened in an attempt since its last update: its start, epochs, newest checkpoint."""

    epochs: Sequence[EpochMetrics] = ()
    checkpoint: str | None = None
    checkpoint_epoch: int = 0
    start: AttemptStart | None = None
    #: How many batches of the next epoch are done.
    batches_done: int = 0


_NOTHING = AttemptUpdate()


def _until_answered(write: Callable[_P, _R]) -> Callable[_P, _R]:
    """Repeat a write until the database answers: hours of training depend on it."""

    @wraps(write)
    def repeat(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        log = ThrottledLog(logger, "the database")
        while True:
            try:
                written = write(*args, **kwargs)
            except DatabaseUnreachable as error:
                log.warn("%s (trying again)", error)
                time.sleep(_RETRY_SECONDS)
            else:
                log.recover()
                return written

    return repeat


class Recorder:
    """Claims jobs for one worker and records what becomes of them.

    What an attempt that lost its lease would write is refused; the others' part is written.
    """

    def __init__(self, database: Database, worker: str, lease_seconds: float) -> None:
        self.database = database
        self.worker = worker
        self.lease_seconds = lease_seconds

    @_until_answered
    def claim_next(self, most: Callable[[ExperimentSpec], int]) -> Sequence[Claim]:
        """Claim the next job, and others to train with it, as claims.claim_next does."""
        with self.database.writing() as session:
            return claims.claim_next(
                session, most, worker=self.worker, lease_seconds=self.lease_seconds
            )

    def find_endings(self, claims: Collection[Claim]) -> dict[Claim, Ending]:
        """Return which attempts must end: cancelled, or without their lease. Write nothing."""
        with self.database.reading() as session:
            rows = session.execute(_FIND_CANCELLED, {"job_ids": _ids(claims)})
            cancelled = {(job_id, number): flag for job_id, number, flag in rows}
        flags = {claim: cancelled.get((claim.job_id, claim.attempt)) for claim in claims}
        return {
            claim: LEASE_LOST if flag is None else CANCELLED
            for claim, flag in flags.items()
            if flag is not False
        }

    def renew(self, updates: Mapping[Claim, AttemptUpdate]) -> set[Claim]:
        """Renew leases and record updates; return the attempts that lost theirs."""
        with self._holding(updates) as (session, held):
            lifecycle.renew(session, _ids(held), self.lease_seconds)
            _add_updates(session, {claim: updates[claim] for claim in held})
        return updates.keys() - held

    @_until_answered
    def succeed(self, updates: Mapping[Claim, AttemptUpdate]) -> set[Claim]:
        """Record results, which are the last epochs' metrics, together with the state changes.

        Return the attempts that lost their lease.
        """
        with self._holding(updates) as (session, held):
            if held:
                _add_measurements(session, {claim: updates[claim] for claim in held})
                _add_results(session, _ids(held))
                lifecycle.succeed(session, _ids(held))
        lost = updates.keys() - held
        lost -= self._succeeded_before(lost)
        for claim in updates:
            if claim in lost:
                _log_ending(claim, LEASE_LOST)
            else:
                logger.info("%s: succeeded", claim, extra=claim.ids)
        return lost

    def end(self, claim: Claim, ending: Ending, update: AttemptUpdate = _NOTHING) -> bool:
        """Record how an attempt ended without a result, and what it had not yet written.

        Return False, with nothing written, if it had lost its lease.
        """
        try:
            is_written = ending != LEASE_LOST and self._end(claim, ending, update)
        except SQLAlchemyError as error:
            ending = ending_of(error, is_alone=True)
            is_written = self._end(claim, ending)
        except ValueRefused:  # the database keeps text in an encoding that lacks some characters
            is_written = self._end(claim, ending.as_ascii())
        _log_ending(claim, ending if is_written else LEASE_LOST)
        return is_written

    @_until_answered
    def _end(self, claim: Claim, ending: Ending, update: AttemptUpdate = _NOTHING) -> bool:
        with self._holding([claim]) as (session, held):
            if held:
                _add_updates(session, {claim: update})
                _move(session, session.get_one(Job, claim.job_id), ending)
            return bool(held)

    @contextmanager
    def _holding(self, claims: Collection[Claim]) -> Iterator[tuple[Session, Sequence[Claim]]]:
        """Open a transaction that locks the jobs of the attempts that have their lease.

        An expired lease that nobody took counts: an outage of the database costs no training.
        """
        with self.database.writing() as session:
            owned = set(map(tuple, session.execute(_HOLD, {"job_ids": _ids(claims)})))
            yield session, [claim for claim in claims if (claim.job_id, claim.attempt) in owned]

    def _succeeded_before(self, claims: Collection[Claim]) -> set[Claim]:
        """Return the attempts whose results an earlier commit recorded, without an answer."""
        if not claims:
            return set()
        found = select(Result.job_id, Result.attempt)
        found = found.where(Result.job_id.in_(_ids(claims)))
        with self.database.reading() as session:
            known = set(map(tuple, session.execute(found)))
        return {claim for claim in claims if (claim.job_id, claim.attempt) in known}


def _move(session: Session, job: Job, ending: Ending) -> None:
    """Move a running job on as its attempt ended."""
    if ending.outcome == Outcome.RELEASED:
        job.suspect = job.suspect or ending.is_suspect
        lifecycle.give_back(session, job, ending.reason, ending.back_off_seconds)
    else:
        lifecycle.close(session, job, JobState(ending.outcome), ending.reason, ending.detail)


def _log_ending(claim: Claim, ending: Ending) -> None:
    what, why = ending.outcome.value, ending.reason
    if ending == LEASE_LOST:
        what, why = "fenced off", "the lease was lost, nothing more is written"
    logger.log(ending.log_level, "%s: %s: %s", claim, what, why, extra=claim.ids)


def _ids(claims: Iterable[Claim]) -> list[int]:
    return [claim.job_id for claim in claims]


def _add_updates(session: Session, updates: Mapping[Claim, AttemptUpdate]) -> None:
    _add_measurements(session, updates)
    ends = [
        {"id": claim.job_id, "epochs_done": each.epochs[-1].epoch, "batches_done": 0}
        for claim, each in updates.items()
        if each.epochs
    ]
    middles = [
        {"id": claim.job_id, "batches_done": each.batches_done}
        for claim, each in updates.items()
        if each.batches_done and not each.epochs
    ]
    _change_jobs(session, ends)
    _change_jobs(session, middles)


def _add_measurements(session: Session, updates: Mapping[Claim, AttemptUpdate]) -> None:
    """Record starts, epochs and checkpoints."""
    _add_starts(session, updates)
    _add_epochs(session, updates)
    checkpoints = [
        {"id": claim.job_id, "checkpoint": name, "checkpoint_epoch": each.checkpoint_epoch}
        for claim, each in updates.items()
        if (name := each.checkpoint)
    ]
    _change_jobs(session, checkpoints)


def _add_starts(session: Session, updates: Mapping[Claim, AttemptUpdate]) -> None:
    """Record what attempts run on and from where, and delete what they measure again."""
    starts = {claim: each.start for claim, each in updates.items() if each.start}
    for start in set(starts.values()):
        alike = [claim for claim, each in starts.items() if each == start]
        lifecycle.begin(session, _ids(alike), asdict(start.provenance), start.epochs_done)
        if resumed := [claim for claim in alike if claim.checkpoint]:
            lifecycle.log_all(session, _ids(resumed), str(start))


def _add_epochs(session: Session, updates: Mapping[Claim, AttemptUpdate]) -> None:
    rows = [
        {"job_id": claim.job_id, "attempt": claim.attempt, **asdict(metrics)}
        for claim, each in updates.items()
        for metrics in each.epochs
    ]
    if rows:
        # An update that is repeated, since no answer came, has the same rows.
        session.execute(insert_missing(session, Epoch), rows)


def _change_jobs(session: Session, rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        session.execute(update(Job), rows)


def _add_results(session: Session, job_ids: Collection[int]) -> None:
    """Copy the results from the rows of the epochs, so that the two can never disagree."""
    added = session.execute(_ADD_RESULTS, {"job_ids": job_ids}).scalars()
    if missing := set(job_ids) - set(added):
        raise ValueError(f"the last epochs of jobs {sorted(missing)} are not measured")
