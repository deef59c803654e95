"""What a submit asks for besides the specs, of new jobs and of those that are there already."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, select, update
from sqlalchemy.orm import Session

from models.message import Priority
from models.state import JobState
from models.tables import Job
from service.formatting import plural
from service.jobs.annotations import check_name, check_tags
from service.queries.selectors import ids_condition

#: What a job gets of which nobody asked anything else, by its column.
_DEFAULTS: Mapping[str, Any] = {
    "priority": Priority.NORMAL,
    "max_crashes": 3,
    "stall_seconds": 600.0,
    "timeout_seconds": None,
    "keep_checkpoint": False,
}
#: The options that ask for it.
_OPTIONS: Mapping[str, str] = {
    "priority": "--priority",
    "max_crashes": "--max-crashes",
    "stall_seconds": "--stall-timeout",
    "timeout_seconds": "--timeout",
    "keep_checkpoint": "--keep-checkpoint",
}
#: What a running job takes: its attempt has read the others.
_WHILE_RUNNING = {"priority", "max_crashes"}
#: What `list_unmet` reads of a job.
COLUMNS = (Job.id, Job.state, Job.name, *(getattr(Job, name) for name in _DEFAULTS))


@dataclass(frozen=True)
class SubmitOptions:
    """What a submit asks for besides the specs; each job of the sweep gets the same.

    None is what nobody asked for: a new job gets the default, a known one keeps what it has.
    """

    name: str | None = None
    tags: tuple[str, ...] = ()
    priority: Priority | None = None
    max_crashes: int | None = None
    stall_seconds: float | None = None
    timeout_seconds: float | None = None
    keep_checkpoint: bool | None = None
    #: Take over finished, queued and running jobs of the same spec instead of running it again.
    reuse: bool = False

    def __post_init__(self) -> None:
        """Raise UsageError for a name or a tag that SQL could not hold."""
        check_name(self.name)
        check_tags(self.tags)

    @property
    def columns(self) -> Mapping[str, Any]:
        """The columns of a new job."""
        return {**_DEFAULTS, **self.wishes}

    @property
    def wishes(self) -> Mapping[str, Any]:
        """The columns of which somebody asked something."""
        asked = {name: getattr(self, name) for name in _DEFAULTS}
        return {name: value for name, value in asked.items() if value is not None}


def apply(session: Session, job_ids: Sequence[int], options: SubmitOptions) -> Sequence[int]:
    """Apply the options to known jobs as far as it can be; return those it lets go earlier.

    The newest wish counts, but no priority is lowered: another sweep waits for the job, too.
    """
    wishes = dict(options.wishes)
    if not job_ids or not wishes:
        return ()
    priority = wishes.pop("priority", None)
    these = ids_condition(job_ids)
    # In one order everywhere: transactions that lock several rows never wait in a circle.
    session.execute(select(Job.id).where(these).order_by(Job.id).with_for_update())
    _update(session, wishes, these, Job.state == JobState.QUEUED)
    lasting = {name: value for name, value in wishes.items() if name in _WHILE_RUNNING}
    _update(session, lasting, these, Job.state == JobState.RUNNING)
    if priority is None:
        return ()
    is_open = Job.state.in_([JobState.QUEUED, JobState.RUNNING])
    raised = update(Job).where(these, is_open, Job.priority > priority).values(priority=priority)
    return session.scalars(raised.returning(Job.id), execution_options=_BULK).all()


def list_notes(jobs: Sequence[Row[Any]], options: SubmitOptions) -> Iterator[str]:
    """Say which options do not apply to known jobs, whose COLUMNS these are."""
    for state, (which, more) in _UNMET.items():
        here = [job for job in jobs if job.state == state]
        unmet = [name for name in options.wishes if _is_unmet(here, name, options)]
        if unmet:
            number = sum(any(_differs(job, name, options) for name in unmet) for job in here)
            named = _enumerate([_OPTIONS[name] for name in unmet])
            change = "changes" if len(unmet) == 1 else "change"
            yield f"For {plural(number, 'job')} {which}, {named} {change} nothing{more}."
    renamed = sum(job.name != options.name for job in jobs) if options.name else 0
    if renamed:
        yield f"For {plural(renamed, 'job')} of an earlier sweep, --name changes nothing."


_UNMET = {
    JobState.SUCCEEDED: ("that finished before", "; --force runs them again"),
    JobState.RUNNING: ("that started before", ""),
    JobState.QUEUED: ("with a higher priority", ""),
}
_BULK = {"synchronize_session": False}


def _update(session: Session, values: Mapping[str, Any], *which: Any) -> None:
    if values:
        session.execute(update(Job).where(*which).values(values), execution_options=_BULK)


def _is_unmet(jobs: Sequence[Row[Any]], name: str, options: SubmitOptions) -> bool:
    return any(_differs(job, name, options) for job in jobs)


def _enumerate(words: Sequence[str]) -> str:
    """Write "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(words[:-1])] * (len(words) > 1) + [words[-1]])


def _differs(job: Row[Any], name: str, options: SubmitOptions) -> bool:
    return bool(getattr(job, name) != options.wishes[name])
