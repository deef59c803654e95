"""The worker's writes: each belongs to one attempt and is refused once its lease was lost."""

import logging
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import wraps
from traceback import format_exc
from typing import Any, TypeVar, cast

from sqlalchemy import (
    BindParameter,
    Integer,
    Row,
    and_,
    bindparam,
    exists,
    func,
    insert,
    literal,
    select,
    update,
)
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, aliased
from sqlalchemy.sql.dml import ReturningInsert

from models import lifecycle
from models.clock import from_now
from models.database import Database, insert_missing
from models.errors import DatabaseUnreachable, DqError, ValueRefused
from models.metrics import EPOCH_METRICS, EpochMetrics
from models.provenance import Provenance
from models.spec import TRAINER_VERSION, ExperimentSpec
from models.state import JobState, WorkerState
from models.tables import Epoch, Job, Pause, Result, Worker
from worker.lasting_trouble import LastingTrouble

logger = logging.getLogger(__name__)
_RETRY_SECONDS = 1.0
#: A job whose writes the database refused is tried again after that long.
_BACK_OFF_SECONDS = 30.0
_LONGEST_CAUSE = 500  # characters
_Write = TypeVar("_Write", bound=Callable[..., Any])

# What every job needs is made once: making a statement takes longer than running it.

#: Locks the job that a message rings for.
_TAKE = (
    select(Job, exists(select(Pause.id)))
    .where(Job.id == bindparam("job_id"))
    .with_for_update(of=Job)
)
_ALIKE = (
    Job.shape == bindparam("shape"),
    Job.priority == bindparam("priority"),
    Job.state == JobState.QUEUED,
    Job.held.is_(False),
    Job.suspect.is_(False),
)
_COUNT: BindParameter[int] = bindparam("count", type_=Integer)
_COUNT_ALIKE = select(func.count()).select_from(
    select(Job.id).where(*_ALIKE).limit(_COUNT).subquery()
)
_TAKE_PEERS = (
    select(Job.id)
    .where(*_ALIKE, Job.id != bindparam("job_id"))
    .order_by(Job.id)
    .limit(_COUNT)
    .with_for_update(skip_locked=True)
)
_COUNT_WORKERS = (
    select(func.count())
    .select_from(Worker)
    .where(Worker.state == WorkerState.ACTIVE, Worker.heartbeat_at > from_now(bindparam("since")))
)
_RUNNING = Job.id.in_(bindparam("job_ids", expanding=True)), Job.state == JobState.RUNNING
_ASK = select(Job.id, Job.attempt, Job.cancel_requested).where(*_RUNNING)
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


class LeaseLost(Exception):
    """Another attempt may own the job now: whatever this one wants to write is refused."""


class Cancelled(Exception):
    """Somebody asked for the job to be cancelled."""


class Released(Exception):
    """The worker was asked to stop: the job goes back to the queue."""


class FailedTogether(Exception):
    """An error hit several jobs in one process: each goes back to the queue, to run alone."""


@dataclass(frozen=True)
class Claim:
    """The right to run one job, until the lease is lost. `attempt` is the fencing token."""

    job_id: int
    attempt: int
    spec: ExperimentSpec
    #: The file to resume from, under the checkpoint folder.
    checkpoint: str | None
    stall_seconds: float
    timeout_seconds: float | None
    keep_checkpoint: bool

    def __str__(self) -> str:
        return f"job {self.job_id} attempt {self.attempt}"

    @property
    def ids(self) -> dict[str, int]:
        """What a log line about this attempt carries besides its words."""
        return {"job_id": self.job_id, "attempt": self.attempt}


@dataclass(frozen=True)
class Origin:
    """What an attempt runs on, and where in its training it begins."""

    provenance: Provenance
    epochs_done: int
    batches_done: int = 0

    def __str__(self) -> str:
        if not self.epochs_done and not self.batches_done:
            return "resumed from scratch: no usable checkpoint"
        batch = f", batch {self.batches_done}" if self.batches_done else ""
        return f"resumed from epoch {self.epochs_done}{batch}"


@dataclass(frozen=True)
class Progress:
    """What an attempt has to tell since it last could: origin, epochs, its newest checkpoint."""

    epochs: Sequence[EpochMetrics] = ()
    checkpoint: str | None = None
    checkpoint_epoch: int = 0
    origin: Origin | None = None
    #: How many batches of the epoch after those are done.
    batches_done: int = 0


def _until_answered(write: _Write) -> _Write:
    """Repeat a write until the database answers: hours of training hang on it."""

    @wraps(write)
    def insist(*args: Any, **kwargs: Any) -> Any:
        trouble = LastingTrouble(logger, "the database")
        while True:
            try:
                written = write(*args, **kwargs)
            except DatabaseUnreachable as error:
                trouble.report("%s (trying again)", error)
                time.sleep(_RETRY_SECONDS)
            else:
                trouble.end()
                return written

    return cast(_Write, insist)


class Recorder:
    """Claims jobs for one worker and records what becomes of them.

    A write of one attempt raises LeaseLost if it may not write any more; one of several returns
    those that may not, and the others' part is written.
    """

    def __init__(self, database: Database, worker: str, lease_seconds: float) -> None:
        self.database = database
        self.worker = worker
        self.lease_seconds = lease_seconds

    @_until_answered
    def claim_pack(
        self, job_id: int, spec: dict[str, Any], most: Callable[[ExperimentSpec], int]
    ) -> Sequence[Claim]:
        """Take a queued job, and other queued ones of its shape and priority, `most` altogether.

        They are no more than this worker's share of what is queued of that shape. None, with a
        line in the log, if this message may not start its job.
        """
        with self.database.writing() as session:
            found = session.execute(_TAKE, {"job_id": job_id}).one_or_none()
            job, is_paused = found or (None, False)
            if job is None or (refusal := _refuse(job, spec, is_paused=is_paused)):
                why = refusal if job else "there is no such job"
                # Of a job that was taken along with another, the message comes late as a rule.
                level = logging.DEBUG if job and job.packed else logging.WARNING
                told = "dropped a message for job %s: %s"
                logger.log(level, told, job_id, why, extra={"job_id": job_id})
                return ()
            limit = most(ExperimentSpec.model_validate(job.spec))
            job_ids = [job_id, *_find_peers(session, job, limit, self.lease_seconds)]
            lease = self.lease_seconds
            jobs = lifecycle.start(session, job_ids, self.worker, os.getpid(), lease)
            return tuple(map(_claim_of, jobs))

    def judge(self, claims: Collection[Claim]) -> dict[Claim, Exception]:
        """Return which attempts are to stop, by LeaseLost or Cancelled; write nothing."""
        with self.database.reading() as session:
            asked = session.execute(_ASK, {"job_ids": _ids(claims)})
            cancelled = {(job_id, number): flag for job_id, number, flag in asked}
        flags = {claim: cancelled.get((claim.job_id, claim.attempt)) for claim in claims}
        verdicts: dict[Claim, Exception] = {
            claim: LeaseLost() for claim, flag in flags.items() if flag is None
        }
        return verdicts | {claim: Cancelled() for claim, flag in flags.items() if flag}

    def beat(self, claim: Claim, progress: Progress) -> None:
        """Renew the lease and record progress."""
        if self.beat_all({claim: progress}):
            raise LeaseLost

    def beat_all(self, progress: Mapping[Claim, Progress]) -> set[Claim]:
        """Renew leases and record progress; return the attempts that lost theirs."""
        with self._holding(progress) as (session, held):
            lifecycle.renew(session, _ids(held), self.lease_seconds)
            _add_progress(session, {claim: progress[claim] for claim in held})
        return progress.keys() - held

    @_until_answered
    def insist(self, claim: Claim, progress: Progress) -> None:
        """Record progress, for as long as the database takes to answer."""
        self.beat(claim, progress)

    @_until_answered
    def succeed(self, progress: Mapping[Claim, Progress]) -> set[Claim]:
        """Record results, which are the last epochs' metrics, together with the state changes.

        Return the attempts that lost their lease.
        """
        with self._holding(progress) as (session, held):
            if held:
                made = {claim: progress[claim] for claim in held}
                _add_origins(session, made)
                _add_epochs(session, made)
                _add_checkpoints(session, made)
                _add_results(session, _ids(held))
                lifecycle.succeed(session, _ids(held))
        lost = progress.keys() - held
        lost -= self._succeeded_before(lost)
        for claim in progress.keys() - lost:
            logger.info("%s: succeeded", claim, extra=claim.ids)
        return lost

    @_until_answered
    def fail(self, claim: Claim, reason: str, detail: str = "") -> None:
        """Record that the experiment itself failed."""
        with self._fenced(claim) as (session, job):
            lifecycle.close(session, job, JobState.FAILED, reason, detail)
        logger.error("%s: failed: %s", claim, reason, extra=claim.ids)

    @_until_answered
    def cancel(self, claim: Claim) -> None:
        """Record that the job was cancelled and that this process is off it."""
        with self._fenced(claim) as (session, job):
            lifecycle.close(session, job, JobState.CANCELLED, "cancelled while running")
        logger.info("%s: cancelled", claim, extra=claim.ids)

    @_until_answered
    def release(self, claim: Claim) -> None:
        """Give the job back to the queue, with what it has reached."""
        with self._fenced(claim) as (session, job):
            lifecycle.give_back(session, job, "the worker was told to stop")
        logger.info("%s: given back", claim, extra=claim.ids)

    @_until_answered
    def give_back(self, claim: Claim, error: SQLAlchemyError) -> None:
        """Give the job back to the queue, to be tried later: the database failed, not the job."""
        cause = _storable(" ".join(str(error).split())[:_LONGEST_CAUSE])
        with self._fenced(claim) as (session, job):
            lifecycle.give_back(session, job, f"the database failed: {cause}")
            job.publish_due = from_now(_BACK_OFF_SECONDS)
        logger.error("%s: given back: the database failed: %s", claim, cause, extra=claim.ids)

    @_until_answered
    def suspect(self, claim: Claim, detail: str) -> None:
        """Give the job back to the queue, to run alone."""
        with self._fenced(claim) as (session, job):
            lifecycle.suspect(session, job, detail)
        logger.warning("%s: given back to run alone: %s", claim, detail, extra=claim.ids)

    @contextmanager
    def closing(self, claim: Claim) -> Iterator[None]:
        """Record how the attempt ends if it does not succeed. The worker's boundary."""
        try:
            with self._recording_errors(claim):
                yield
        except LeaseLost:
            told = "%s: fenced off: the lease was lost, nothing more is written"
            logger.warning(told, claim, extra=claim.ids)

    @contextmanager
    def _recording_errors(self, claim: Claim) -> Iterator[None]:
        try:
            yield
        except LeaseLost:
            raise
        except Cancelled:
            self.cancel(claim)
        except Released:
            self.release(claim)
        except FailedTogether as error:
            self.suspect(claim, _storable(str(error)))
        except SQLAlchemyError as error:
            self.give_back(claim, error)
        except Exception as error:  # noqa: BLE001 - the worker's boundary: recorded on the job
            reason, detail = _storable(_describe(error)), _storable(format_exc())
            try:
                self.fail(claim, reason, detail)
            except ValueRefused:  # the database keeps text in an encoding that lacks some of it
                self.fail(claim, ascii(reason), ascii(detail))

    @contextmanager
    def _fenced(self, claim: Claim) -> Iterator[tuple[Session, Job]]:
        """Open a transaction that holds the row and renews the lease; LeaseLost if it was lost.

        An expired lease that nobody took may be renewed: an outage of the database throws no
        training away.
        """
        with self.database.writing() as session:
            job = session.scalars(select(Job).where(*_mine(claim)).with_for_update()).one_or_none()
            if job is None:
                raise LeaseLost
            job.lease_until = from_now(self.lease_seconds)
            yield session, job

    @contextmanager
    def _holding(self, claims: Collection[Claim]) -> Iterator[tuple[Session, Sequence[Claim]]]:
        """Open a transaction that holds the rows of those that have their lease."""
        with self.database.writing() as session:
            owned = set(map(tuple, session.execute(_HOLD, {"job_ids": _ids(claims)})))
            yield session, [claim for claim in claims if (claim.job_id, claim.attempt) in owned]

    def _succeeded_before(self, claims: Collection[Claim]) -> set[Claim]:
        """Return of which an earlier commit, whose answer never came, recorded the results."""
        if not claims:
            return set()
        found = select(Result.job_id, Result.attempt)
        found = found.where(Result.job_id.in_(_ids(claims)))
        with self.database.reading() as session:
            known = set(map(tuple, session.execute(found)))
        return {claim for claim in claims if (claim.job_id, claim.attempt) in known}


def _mine(claim: Claim) -> tuple[Any, ...]:
    """Return the fence: the conditions under which the attempt still owns its job."""
    return Job.id == claim.job_id, Job.attempt == claim.attempt, Job.state == JobState.RUNNING


def _ids(claims: Iterable[Claim]) -> list[int]:
    return [claim.job_id for claim in claims]


def _find_peers(session: Session, job: Job, most: int, silent_seconds: float) -> Sequence[int]:
    """Return, locked, the ids of the queued jobs to be trained together with one that is.

    Jobs that were lost in company run alone. No claim waits for another's rows.
    """
    if job.suspect or most == 1:
        return ()
    share = _find_share(session, job, most, silent_seconds)
    like = {"shape": job.shape, "priority": job.priority}
    return session.scalars(_TAKE_PEERS, {**like, "job_id": job.id, "count": share - 1}).all()


def _find_share(session: Session, job: Job, most: int, silent_seconds: float) -> int:
    """Return how many of the queued jobs are one worker's share: no worker hogs a short queue."""
    workers = session.scalar(_COUNT_WORKERS, {"since": -silent_seconds}) or 1
    if workers == 1:
        return most
    like = {"shape": job.shape, "priority": job.priority}
    waiting = session.scalar(_COUNT_ALIKE, {**like, "count": most * workers}) or 1
    return min(most, -(-waiting // workers))


_WHY_NOT = {
    JobState.RUNNING: "it is running",
    JobState.SUCCEEDED: "it succeeded",
    JobState.FAILED: "it failed",
    JobState.CANCELLED: "it was cancelled",
}


def _refuse(job: Job, spec: dict[str, Any], *, is_paused: bool) -> str | None:
    """Say why a message may not start this job; None if it may."""
    if job.state != JobState.QUEUED:
        return _WHY_NOT[JobState(job.state)]
    if job.held:
        return "it is held"
    if job.spec != spec:
        return "the message's spec is not the row's"
    if is_paused:
        return "the queue is paused"
    return None


def _claim_of(job: Row[Any]) -> Claim:
    return Claim(
        job_id=job.id,
        attempt=job.attempt,
        spec=ExperimentSpec.model_validate(job.spec),
        checkpoint=job.checkpoint,
        stall_seconds=job.stall_seconds,
        timeout_seconds=job.timeout_seconds,
        keep_checkpoint=job.keep_checkpoint,
    )


def _add_progress(session: Session, progress: Mapping[Claim, Progress]) -> None:
    _add_origins(session, progress)
    _add_epochs(session, progress)
    _add_checkpoints(session, progress)
    reached = [
        {"id": claim.job_id, "epochs_done": made.epochs[-1].epoch, "batches_done": 0}
        for claim, made in progress.items()
        if made.epochs
    ]
    within = [
        {"id": claim.job_id, "batches_done": made.batches_done}
        for claim, made in progress.items()
        if made.batches_done and not made.epochs
    ]
    for rows in (reached, within):
        if rows:
            session.execute(update(Job), rows)


def _add_origins(session: Session, progress: Mapping[Claim, Progress]) -> None:
    """Record what attempts run on and from where, and forget what they measure again."""
    origins = {claim: made.origin for claim, made in progress.items() if made.origin}
    for origin in set(origins.values()):
        alike = [claim for claim, each in origins.items() if each == origin]
        lifecycle.begin(session, _ids(alike), asdict(origin.provenance), origin.epochs_done)
        if resumed := [claim for claim in alike if claim.checkpoint]:
            lifecycle.log_all(session, _ids(resumed), str(origin))


def _add_epochs(session: Session, progress: Mapping[Claim, Progress]) -> None:
    rows = [_row(claim, each) for claim, made in progress.items() for each in made.epochs]
    if rows:
        # An attempt that repeats what it told before, since no answer came, tells the same.
        session.execute(insert_missing(session, Epoch), rows)


def _add_checkpoints(session: Session, progress: Mapping[Claim, Progress]) -> None:
    saved = [_saved(claim.job_id, made) for claim, made in progress.items() if made.checkpoint]
    if saved:
        session.execute(update(Job), saved)


def _row(claim: Claim, metrics: EpochMetrics) -> dict[str, Any]:
    return {"job_id": claim.job_id, "attempt": claim.attempt, **asdict(metrics)}


def _saved(job_id: int, made: Progress) -> dict[str, Any]:
    return {
        "id": job_id,
        "checkpoint": made.checkpoint,
        "checkpoint_epoch": made.checkpoint_epoch,
    }


def _add_results(session: Session, job_ids: Collection[int]) -> None:
    """Copy the results from the rows of the epochs, so that the two can never disagree."""
    added = session.execute(_ADD_RESULTS, {"job_ids": job_ids}).scalars()
    if missing := set(job_ids) - set(added):
        raise ValueError(f"the last epochs of jobs {sorted(missing)} are not measured")


def _storable(text: str) -> str:
    """Escape what a database refuses: NUL, and halves of characters."""
    return text.encode(errors="backslashreplace").decode().replace("\0", "\\x00")


def _describe(error: Exception) -> str:
    """Put an error in one line; a DqError's own words need no class name."""
    return str(error) if isinstance(error, DqError) else f"{type(error).__name__}: {error}"
