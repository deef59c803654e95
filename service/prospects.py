"""What can be said of a submit beforehand: what is known already, and how long the rest takes."""

from collections.abc import Sequence

from models.database import Database
from models.spec import ExperimentSpec
from service.estimate import estimate
from service.known import find_known, key


def foresee(
    database: Database, specs: Sequence[ExperimentSpec], *, is_forced: bool = False
) -> list[str]:
    """Say in sentences what a submit of the specs would do; forced, it runs all of them."""
    with database.reading() as session:
        known = {} if is_forced else find_known(session, specs)
    new = [spec for spec in specs if key(spec) not in known]
    said = []
    if known:
        finished = sum(job.is_finished for job in known.values())
        said = [
            f"{finished} finished already, {len(known) - finished} queued or running, not again."
        ]
    return [*said, str(estimate(database, new)) if new else "Nothing is left to run."]
