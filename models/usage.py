"""How much of the workers each owner used: seconds of training, which count half after a week."""

import time
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BindParameter, bindparam, func, select, update
from sqlalchemy.orm import Session

from models.tables import Epoch, Job, Owner

_WEEK_SECONDS = 7 * 86_400.0
_START = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
_JOB_IDS: BindParameter[Any] = bindparam("job_ids", expanding=True)
_trained = select(func.coalesce(func.sum(Epoch.seconds), 0.0)).join(Job, Job.id == Epoch.job_id)
_CHARGE = (
    update(Owner)
    .where(Owner.name.in_(select(Job.owner).where(Job.id.in_(_JOB_IDS))))
    .values(
        used=Owner.used
        + bindparam("weight")
        * _trained.where(Job.id.in_(_JOB_IDS), Job.owner == Owner.name).scalar_subquery()
    )
    .execution_options(synchronize_session=False)
)


def charge(session: Session, job_ids: Collection[int]) -> None:
    """Add the training of jobs, which ended in this transaction, to what their owners used."""
    session.execute(_CHARGE, {"job_ids": list(job_ids), "weight": _weigh_now()})


def turn(workers: int, used: float, owner: str) -> tuple[int, float, str]:
    """Return what owners are sorted by: the least has the next turn.

    The fewest workers that run its jobs come first, then the least use.
    """
    return workers, used, owner


def count_hours(used: float) -> float:
    """Return how many hours of now an owner's `used` is worth."""
    return used / _weigh_now() / 3600


def _weigh_now() -> float:
    """Return the weight of a second: it doubles each week, so that old ones need not be halved."""
    return float(2 ** ((time.time() - _START) / _WEEK_SECONDS))
