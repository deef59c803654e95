"""What a submit would do: which jobs exist already, and how long the others take."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from models.database import Database
from models.spec import ExperimentSpec
from service.formatting import plural
from service.jobs.known_jobs import Key, KnownJob, find_known, key
from service.queries.estimate import estimate


@dataclass(frozen=True)
class Preview:
    """What a submit would do."""

    #: The jobs that need not be run again.
    known: Mapping[Key, KnownJob] = field(default_factory=dict)
    #: The same as sentences, and how long the others take.
    sentences: Sequence[str] = ()


def preview(
    database: Database | None, specs: Sequence[ExperimentSpec], *, is_forced: bool = False
) -> Preview:
    """Look up what a submit of the specs would do; forced, it runs all of them.

    Without a database there are no known jobs.
    """
    known: Mapping[Key, KnownJob] = {}
    if database and not is_forced:
        with database.reading() as session:
            known = find_known(session, specs)
    new = [spec for spec in specs if key(spec) not in known]
    rest = str(estimate(database, new)) if new else "Nothing is left to run."
    return Preview(known, [*_describe(list(known.values())), rest])


def _describe(known: Sequence[KnownJob]) -> list[str]:
    """Say how many jobs are not run again, and why."""
    finished = sum(job.is_finished for job in known)
    kinds = ((finished, "finished already"), (len(known) - finished, "queued or running"))
    parts = [f"{plural(number, 'job')} {state}" for number, state in kinds if number]
    return [f"Not run again: {', '.join(parts)}."] if parts else []
