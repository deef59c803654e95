"""Finds the jobs that already gave, or will give, what a submit asks for."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, and_, or_, select
from sqlalchemy.orm import Session

from models.spec import TRAINER_VERSION, ExperimentSpec
from models.state import JobState
from models.tables import Job, Result

_BATCH = 500


@dataclass(frozen=True)
class KnownJob:
    """A job that need not be run again."""

    job_id: int
    is_finished: bool


#: What makes two specs the same experiment: everything but the seed, and the seed.
Key = tuple[str, int]


def key(spec: ExperimentSpec) -> Key:
    """Return what makes a spec the same experiment as another."""
    return spec.configuration, spec.seed


def find_known(session: Session, specs: Iterable[ExperimentSpec]) -> dict[Key, KnownJob]:
    """Return, by key, the specs' finished jobs of this trainer version, else queued or running."""
    wanted = {key(spec) for spec in specs}
    known: dict[Key, KnownJob] = {}
    for batch in _split(sorted({configuration for configuration, _ in wanted})):
        for job_id, configuration, spec, state in session.execute(_query(batch)):
            found = KnownJob(job_id, state == JobState.SUCCEEDED)
            before = known.setdefault((configuration, spec["seed"]), found)
            if found.is_finished and not before.is_finished:
                known[configuration, spec["seed"]] = found
    return {name: job for name, job in known.items() if name in wanted}


def _query(configurations: Sequence[str]) -> Select[int, str, dict[str, Any], str]:
    is_open = Job.state.in_([JobState.QUEUED, JobState.RUNNING]) & Job.cancel_requested.is_(False)
    is_done = and_(Job.state == JobState.SUCCEEDED, Result.trainer_version == TRAINER_VERSION)
    columns = select(Job.id, Job.configuration, Job.spec, Job.state).outerjoin(Result)
    return columns.where(Job.configuration.in_(configurations), or_(is_open, is_done)).order_by(
        Job.id
    )


def _split(names: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(names), _BATCH):
        yield names[start : start + _BATCH]
