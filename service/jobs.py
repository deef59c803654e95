"""What a person does to jobs: submit, cancel, retry, hold, release, tag, pause."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, delete, exists, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from models import lifecycle
from models.clock import from_now, now
from models.database import Database
from models.errors import BrokerUnreachable, DatabaseUnreachable, UsageError
from models.message import OVERDUE_SECONDS, Bell, Priority
from models.spec import ExperimentSpec
from models.state import JobState, WorkerState
from models.tables import Job, Member, Pause, Sweep, Tag, Worker
from service.annotations import check_name, check_tags
from service.known import find_known, key
from service.selector import in_sweep

if TYPE_CHECKING:  # it brings Celery, which most commands do not need
    from service.broker import Broker

_BATCH = 1000


@dataclass(frozen=True)
class Order:
    """What a submit asks for besides the specs; each job of the sweep gets the same."""

    name: str | None = None
    tags: tuple[str, ...] = ()
    priority: Priority = Priority.NORMAL
    max_crashes: int = 3
    stall_seconds: float = 600.0
    timeout_seconds: float | None = None
    keep_checkpoint: bool = False
    #: Take over finished, queued and running jobs of the same spec instead of running it again.
    reuse: bool = False

    def __post_init__(self) -> None:
        """Raise UsageError for a name or a tag that SQL could not hold."""
        check_name(self.name)
        check_tags(self.tags)


@dataclass(frozen=True)
class Submitted:
    """The jobs of a sweep, by how it came to them.

    `unsent` says why no message was sent, or is None.
    """

    sweep_id: int
    created: tuple[int, ...]
    #: Finished before, by the same version of the trainer.
    reused: tuple[int, ...]
    #: Queued or running before.
    joined: tuple[int, ...]
    unsent: str | None

    @property
    def job_ids(self) -> tuple[int, ...]:
        """All of them."""
        return tuple(sorted({*self.created, *self.reused, *self.joined}))


@dataclass(frozen=True)
class Change:
    """What became of one selected job: "cancelled", "was succeeded", ..."""

    job_id: int
    change: str


def submit(
    database: Database, broker: "Broker", specs: Sequence[ExperimentSpec], order: Order, token: str
) -> Submitted:
    """Record the jobs of a sweep, commit, then send their messages.

    `token` makes it repeatable: a second submit with the same one inserts nothing. If Redis does
    not answer the jobs stand, and a worker sends their messages later.
    """
    inserted = _insert(database, specs, order, token)
    return Submitted(
        sweep_id=inserted.sweep_id,
        created=tuple(bell.job_id for bell in inserted.bells),
        reused=inserted.reused,
        joined=inserted.joined,
        unsent=_ring(database, broker, inserted.bells),
    )


def cancel(database: Database, which: ColumnElement[bool]) -> list[Change]:
    """Cancel queued jobs at once, and ask for running ones to be stopped."""
    return _change(database, which, _cancel)


def retry(
    database: Database, broker: "Broker", which: ColumnElement[bool], *, from_scratch: bool
) -> list[Change]:
    """Queue failed and cancelled jobs again; they go on from their checkpoints unless told not."""

    def change(session: Session, job: Job) -> str:
        return _retry(session, job, from_scratch)

    return _change_and_ring(database, broker, which, change)


def hold(database: Database, which: ColumnElement[bool]) -> list[Change]:
    """Keep queued jobs from being started."""
    return _change(database, which, _hold)


def release(database: Database, broker: "Broker", which: ColumnElement[bool]) -> list[Change]:
    """Let held jobs be started."""
    return _change_and_ring(database, broker, which, _release)


def pause(database: Database) -> None:
    """Keep every worker from taking jobs until `resume`; running jobs go on."""
    with database.writing() as session:
        session.merge(Pause(id=1, since=now()))


def resume(database: Database, broker: "Broker") -> str | None:
    """Let workers take jobs again; return why no message was sent, or None."""
    with database.writing() as session:
        session.execute(delete(Pause))
        jobs = session.scalars(
            select(Job).where(Job.state == JobState.QUEUED, Job.held.is_(False)).order_by(Job.id)
        )
        bells = [Bell(job.id, job.spec, job.priority) for job in jobs]
    return _ring(database, broker, bells)


def drain(database: Database, worker: str | None) -> list[str]:
    """Have a worker, or all, end after the current job; return their names."""
    with database.writing() as session:
        named = Worker.id == worker if worker else Worker.id.is_not(None)
        workers = session.scalars(select(Worker).where(named).order_by(Worker.id)).all()
        if worker and not workers:
            raise UsageError(f"There is no worker {worker!r}. Type: dq workers")
        for each in workers:
            each.state = WorkerState.DRAINING
        return [each.id for each in workers]


@dataclass(frozen=True)
class _Inserted:
    sweep_id: int
    bells: tuple[Bell, ...]
    reused: tuple[int, ...]
    joined: tuple[int, ...]


def _insert(
    database: Database, specs: Sequence[ExperimentSpec], order: Order, token: str
) -> _Inserted:
    """Insert the rows; again if the answer to a commit was lost, or if that is still under way."""
    for _ in range(2):
        with suppress(DatabaseUnreachable, IntegrityError):
            return _insert_once(database, specs, order, token)
    return _insert_once(database, specs, order, token)


def _insert_once(
    database: Database, specs: Sequence[ExperimentSpec], order: Order, token: str
) -> _Inserted:
    with database.writing() as session:
        sweep = session.scalars(select(Sweep).where(Sweep.submit_token == token)).one_or_none()
        if sweep is None:
            sweep = _insert_sweep(session, specs, order, token)
        created = select(Job.id, Job.spec).where(Job.sweep_id == sweep.id).order_by(Job.ordinal)
        shared = select(Job.id, Job.state).join(Member).where(Member.sweep_id == sweep.id)
        states = dict(session.execute(shared.order_by(Job.id)).all())
        return _Inserted(
            sweep_id=sweep.id,
            bells=tuple(
                Bell(job_id, spec, order.priority) for job_id, spec in session.execute(created)
            ),
            reused=tuple(i for i, state in states.items() if state == JobState.SUCCEEDED),
            joined=tuple(i for i, state in states.items() if state != JobState.SUCCEEDED),
        )


def _insert_sweep(
    session: Session, specs: Sequence[ExperimentSpec], order: Order, token: str
) -> Sweep:
    sweep = Sweep(submit_token=token, name=order.name, created_at=now())
    session.add(sweep)
    session.flush()
    known = find_known(session, specs) if order.reuse else {}
    shared = {known[key(spec)].job_id for spec in specs if key(spec) in known}
    new = [spec for spec in specs if key(spec) not in known]
    if new:
        _insert_jobs(session, sweep.id, new, order)
    if shared:
        members = [{"sweep_id": sweep.id, "job_id": job_id} for job_id in sorted(shared)]
        session.execute(insert(Member), members)
    _insert_tags(session, sweep.id, order.tags)
    return sweep


def _insert_jobs(
    session: Session, sweep_id: int, specs: Sequence[ExperimentSpec], order: Order
) -> None:
    rows = [_row(sweep_id, ordinal, spec, order) for ordinal, spec in enumerate(specs)]
    jobs = Job.metadata.tables[Job.__tablename__]
    statement = insert(jobs).values(created_at=now(), publish_due=from_now(OVERDUE_SECONDS))
    session.execute(statement, rows)


def _insert_tags(session: Session, sweep_id: int, tags: Sequence[str]) -> None:
    ids = session.scalars(select(Job.id).where(in_sweep(sweep_id))).all() if tags else []
    had = select(Tag.job_id, Tag.tag).where(
        Tag.tag.in_(tags), Tag.job_id.in_(select(Job.id).where(in_sweep(sweep_id)))
    )
    present = set(session.execute(had)) if ids else set()
    wanted = {(job_id, tag) for job_id in ids for tag in tags} - present
    if wanted:
        session.execute(insert(Tag), [{"job_id": i, "tag": tag} for i, tag in sorted(wanted)])


def _row(sweep_id: int, ordinal: int, spec: ExperimentSpec, order: Order) -> dict[str, Any]:
    return {
        "sweep_id": sweep_id,
        "ordinal": ordinal,
        "name": order.name,
        "spec": spec.model_dump(mode="json"),
        "configuration": spec.configuration,
        "shape": spec.shape,
        "state": JobState.QUEUED,
        "priority": order.priority,
        "max_crashes": order.max_crashes,
        "stall_seconds": order.stall_seconds,
        "timeout_seconds": order.timeout_seconds,
        "keep_checkpoint": order.keep_checkpoint,
    }


def _ring(database: Database, broker: "Broker", bells: Sequence[Bell]) -> str | None:
    """Send messages and note that they were sent; return why not, or None."""
    if not bells:
        return None
    try:
        broker.ring(bells)
    except BrokerUnreachable as error:
        return str(error)
    ids = [bell.job_id for bell in bells]
    with database.writing() as session:
        for start in range(0, len(ids), _BATCH):
            sent = Job.id.in_(ids[start : start + _BATCH])
            due = {"publishes": 1, "publish_due": from_now(OVERDUE_SECONDS)}
            # The first ones may run by now, or be done: their rows are their workers'.
            waiting = update(Job).where(sent, Job.state == JobState.QUEUED)
            session.execute(waiting.values(**due), execution_options={"synchronize_session": False})
    return None


def _change(
    database: Database, which: ColumnElement[bool], change: Callable[[Session, Job], str]
) -> list[Change]:
    """Apply a change to each selected job, all in one transaction."""
    with database.writing() as session:
        selected = select(Job).where(which).order_by(Job.id).with_for_update()
        return [Change(job.id, change(session, job)) for job in session.scalars(selected).all()]


def _change_and_ring(
    database: Database,
    broker: "Broker",
    which: ColumnElement[bool],
    change: Callable[[Session, Job], str],
) -> list[Change]:
    bells = []

    def change_and_note(session: Session, job: Job) -> str:
        done = change(session, job)
        if job.publishes == 0 and job.state == JobState.QUEUED and not job.held:
            bells.append(Bell(job.id, job.spec, job.priority))
        return done

    changes = _change(database, which, change_and_note)
    _ring(database, broker, bells)  # a worker rings later if Redis does not answer
    return changes


def _cancel(session: Session, job: Job) -> str:
    if job.state == JobState.QUEUED:
        lifecycle.close(session, job, JobState.CANCELLED, "cancelled before it ran")
        return "cancelled"
    if job.state != JobState.RUNNING:
        return f"was {job.state}"
    job.cancel_requested = True
    if _is_abandoned(session, job):
        lifecycle.lose(session, job, f"{job.worker} fell silent")
        return "cancelled"
    return "stopping"


def _is_abandoned(session: Session, job: Job) -> bool:
    """Whether the lease of a running job has run out."""
    return bool(session.scalar(select(exists().where(Job.id == job.id, Job.lease_until < now()))))


def _retry(session: Session, job: Job, from_scratch: bool) -> str:
    if job.state not in {JobState.FAILED, JobState.CANCELLED}:
        return f"is {job.state}"
    if from_scratch:
        job.checkpoint, job.checkpoint_epoch, job.progress_mark = None, 0, 0
        lifecycle.forget_progress(session, [job.id])
    job.reason, job.finished_at, job.crashes, job.held = None, None, 0, False
    job.suspect = False
    lifecycle.enqueue(job)
    lifecycle.log(session, job, "queued again from scratch" if from_scratch else "queued again")
    return "queued"


def _hold(session: Session, job: Job) -> str:
    if job.state != JobState.QUEUED:
        return f"is {job.state}"
    job.held = True
    lifecycle.log(session, job, "held")
    return "held"


def _release(session: Session, job: Job) -> str:
    if not job.held:
        return "was not held"
    job.held, job.publishes, job.publish_due = False, 0, now()
    lifecycle.log(session, job, "released")
    return "queued"
