"""Finds the jobs that already ran, or will run, the specs of a submit."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, and_, func, or_, select
from sqlalchemy.orm import Session

from models.database import Database
from models.spec import TRAINER_VERSION, ExperimentSpec
from models.state import JobState
from models.tables import Job, Result
from service.queries import spec_columns
from service.queries.selectors import ids_condition, open_condition

_BATCH = 500
#: The key of PostgreSQL's advisory lock for submits; nothing else in dq uses it.
_LOCK = 0x64715F6B6E6F776E


@dataclass(frozen=True)
class KnownJob:
    """A job that need not be run again."""

    job_id: int
    is_finished: bool


#: A spec's configuration and seed, which make it the same experiment as another.
Key = tuple[str, int]


def key(spec: ExperimentSpec) -> Key:
    """Return the key of a spec."""
    return spec.configuration, spec.seed


def lock_known(session: Session) -> None:
    """Keep other submits from looking for known jobs until this transaction has added its own.

    On SQLite no other transaction writes meanwhile anyway.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(select(func.pg_advisory_xact_lock(_LOCK)))


def find_known(
    session: Session, specs: Sequence[ExperimentSpec], *, after: int = 0, excluded_sweep: int = 0
) -> dict[Key, KnownJob]:
    """Return, by key, the specs' finished jobs of this trainer version, else queued or running.

    Jobs up to the id `after`, and those of the excluded sweep, do not count.
    """
    wanted = {key(spec) for spec in specs}
    seeds = {seed for _, seed in wanted}
    known: dict[Key, KnownJob] = {}
    for batch in _split(sorted({configuration for configuration, _ in wanted})):
        query = _select().where(
            Job.configuration.in_(batch),
            Job.id > after,
            Job.sweep_id != excluded_sweep,
            # Last, because it is the slowest to evaluate.
            spec_columns.column("seed").between(min(seeds), max(seeds)),
        )
        for job_id, configuration, spec, state in session.execute(query):
            found = KnownJob(job_id, state == JobState.SUCCEEDED)
            before = known.setdefault((configuration, spec["seed"]), found)
            if found.is_finished and not before.is_finished:
                known[configuration, spec["seed"]] = found
    return {name: job for name, job in known.items() if name in wanted}


class KnownJobs:
    """The known jobs of a submit that takes several transactions.

    For a hundred thousand specs the search takes a second, for which no other writer must wait:
    each transaction searches only the jobs that were added since.
    """

    def __init__(self) -> None:
        self._found: dict[Key, KnownJob] = {}
        self._newest = 0

    def look_ahead(self, database: Database, specs: Sequence[ExperimentSpec]) -> None:
        """Find the known jobs of all specs."""
        with database.writing() as session:
            lock_known(session)  # else a smaller id could still be committed
            newest = session.scalar(select(func.max(Job.id))) or 0
        with database.reading() as session:
            self._found = find_known(session, specs)
        self._newest = newest

    def find(
        self, session: Session, specs: Sequence[ExperimentSpec], excluded_sweep: int
    ) -> dict[Key, KnownJob]:
        """Return what `find_known` does, in a transaction that holds the lock."""
        found = {name: self._found[name] for name in map(key, specs) if name in self._found}
        ids = [job.job_id for job in found.values()]
        query = _select().where(ids_condition(ids))
        still_known = set(
            session.scalars(query.with_only_columns(Job.id, maintain_column_froms=True))
        )
        added = find_known(session, specs, after=self._newest, excluded_sweep=excluded_sweep)
        return added | {name: job for name, job in found.items() if job.job_id in still_known}


def _select() -> Select[int, str, dict[str, Any], str]:
    is_open = open_condition() & Job.cancel_requested.is_(False)
    is_done = and_(Job.state == JobState.SUCCEEDED, Result.trainer_version == TRAINER_VERSION)
    columns = select(Job.id, Job.configuration, Job.spec, Job.state).outerjoin(Result)
    return columns.where(or_(is_open, is_done)).order_by(Job.id)


def _split(names: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(names), _BATCH):
        yield names[start : start + _BATCH]
