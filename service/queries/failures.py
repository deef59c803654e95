"""Why jobs failed, reason by reason, and what to type about each."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, func, select

from models.database import Database
from models.spec import ExperimentSpec
from models.state import JobState
from models.tables import Job


@dataclass(frozen=True)
class Failure:
    """A reason for which some of the selected jobs failed."""

    #: As most of them have it; others may have other numbers: "diverged at epoch 3".
    reason: str
    jobs: int
    advice: str
    #: What to type for the first of them.
    command: str


def list_failures(database: Database, which: ColumnElement[bool]) -> list[Failure]:
    """Return the reasons for which selected jobs failed, that of the most jobs first."""
    counted = select(Job.reason, func.count(), func.min(Job.id)).where(
        which, Job.state == JobState.FAILED
    )
    with database.reading() as session:
        found = session.execute(counted.group_by(Job.reason)).all()
        groups: dict[str, list[tuple[str, int, int]]] = {}
        for reason, jobs, job_id in sorted(found, key=lambda row: (-row[1], row[2])):
            line = _first_line(reason)
            groups.setdefault(re.sub(r"\d+", "0", line), []).append((line, jobs, job_id))
        by_first_id = {min(job_id for _, _, job_id in rows): rows for rows in groups.values()}
        specs = session.execute(
            select(Job.id, Job.spec).where(Job.id.in_(by_first_id)).order_by(Job.id)
        )
        failures = [
            _describe(by_first_id[job_id], job_id, ExperimentSpec.model_validate(spec))
            for job_id, spec in specs
        ]
    return sorted(failures, key=lambda failure: -failure.jobs)


def advise(job_id: int, reason: str, spec: ExperimentSpec) -> tuple[str, str]:
    """Return what to do about a failed job, in a sentence and as a command."""
    if reason.startswith("diverged"):
        return (
            "Its loss became infinite or NaN. A retry would diverge again; submit it with a "
            "smaller learning rate.",
            f"dq submit --like {job_id} --lr {spec.lr / 10:g}",
        )
    if reason.startswith("not done after"):
        return "Submit it with more time.", f"dq submit --like {job_id} --timeout 2h"
    return (
        "Read its log, and retry it once the cause is fixed.",
        f"dq logs {job_id}; dq retry {job_id}",
    )


def _describe(rows: Sequence[tuple[str, int, int]], job_id: int, spec: ExperimentSpec) -> Failure:
    reason = rows[0][0]
    return Failure(reason, sum(jobs for _, jobs, _ in rows), *advise(job_id, reason, spec))


def _first_line(reason: str | None) -> str:
    return next(iter((reason or "").strip().splitlines()), "no reason was recorded")
