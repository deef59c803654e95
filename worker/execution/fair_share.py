"""Whose job is next, among several owners with queued jobs."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, distinct, exists, func, select
from sqlalchemy.orm import Session

from models.state import JobState
from models.tables import Job, Owner
from models.usage import turn

_PLACES = (
    select(Job.owner, func.count(distinct(Job.worker)))
    .where(Job.state == JobState.RUNNING)
    .group_by(Job.owner)
)


def list_owners(session: Session, claimable: Sequence[ColumnElement[bool]]) -> list[str]:
    """Return the owners of claimable jobs: who has the fewest workers first, then who used least.

    `claimable` are the conditions that hold of a job that may be started.
    """
    has_job = exists().where(*claimable, Job.owner == Owner.name)
    owners = session.execute(select(Owner.name, Owner.used).where(has_job)).all()
    if len(owners) < 2:  # noqa: PLR2004 - nobody to share with
        return [owner.name for owner in owners]
    places: dict[str, int] = dict(session.execute(_PLACES).all())
    owners = sorted(owners, key=lambda each: turn(places.get(each.name, 0), each.used, each.name))
    return [owner.name for owner in owners]
