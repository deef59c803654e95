"""The options of a submit besides the specs, for new jobs and for those that exist already."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, select, update
from sqlalchemy.orm import Session

from models.message import Priority
from models.state import JobState
from models.tables import Job
from service.formatting import join_words, plural
from service.jobs.annotations import check_name, check_tags
from service.jobs.batches import BULK
from service.queries.selectors import ids_condition, open_condition

#: The values of a new job's columns that no option gives.
_DEFAULTS: Mapping[str, Any] = {
    "priority": Priority.NORMAL,
    "max_crashes": 3,
    "stall_seconds": 600.0,
    "timeout_seconds": None,
    "keep_checkpoint": False,
}
#: The columns' options.
_OPTIONS: Mapping[str, str] = {
    "priority": "--priority",
    "max_crashes": "--max-crashes",
    "stall_seconds": "--stall-timeout",
    "timeout_seconds": "--timeout",
    "keep_checkpoint": "--keep-checkpoint",
}
#: What can still be changed of a running job: its attempt has read the others.
_WHILE_RUNNING = {"priority", "max_crashes"}
#: By state, the existing jobs on which an option has no effect, and what to do about it.
_INEFFECTIVE = {
    JobState.SUCCEEDED: ("that finished before", "; --force runs them again"),
    JobState.RUNNING: ("that started before", ""),
    JobState.QUEUED: ("with a higher priority", ""),
}
#: What `list_notes` reads of a job.
COLUMNS = (Job.id, Job.state, Job.name, *(getattr(Job, name) for name in _DEFAULTS))


@dataclass(frozen=True)
class SubmitOptions:
    """The options of a submit besides the specs; they apply to each job of the sweep.

    Where one is None, a new job gets the default, and an existing one keeps what it has.
    """

    #: Whose the new jobs are.
    owner: str = ""
    name: str | None = None
    tags: tuple[str, ...] = ()
    priority: Priority | None = None
    max_crashes: int | None = None
    stall_seconds: float | None = None
    timeout_seconds: float | None = None
    keep_checkpoint: bool | None = None
    #: Use finished, queued and running jobs of the same spec instead of running it again.
    reuse: bool = False

    def __post_init__(self) -> None:
        """Raise UsageError for a name or a tag that SQL could not hold."""
        check_name(self.name)
        check_tags(self.tags)

    @property
    def columns(self) -> Mapping[str, Any]:
        """The columns of a new job."""
        return {**_DEFAULTS, **self.given}

    @property
    def given(self) -> Mapping[str, Any]:
        """The columns whose option was given."""
        values = {name: getattr(self, name) for name in _DEFAULTS}
        return {name: value for name, value in values.items() if value is not None}


def apply_options(session: Session, job_ids: Sequence[int], options: SubmitOptions) -> None:
    """Apply the options to existing jobs as far as possible.

    The newest option counts, but no priority is lowered: another sweep waits for the job, too.
    """
    values = dict(options.given)
    if not job_ids or not values:
        return
    priority = values.pop("priority", None)
    these = ids_condition(job_ids)
    # In one order everywhere: transactions that lock several rows never wait in a circle.
    session.execute(select(Job.id).where(these).order_by(Job.id).with_for_update())
    _update(session, values, these, Job.state == JobState.QUEUED)
    changeable = {name: value for name, value in values.items() if name in _WHILE_RUNNING}
    _update(session, changeable, these, Job.state == JobState.RUNNING)
    if priority is not None:
        lower = these, open_condition(), Job.priority > priority
        _update(session, {"priority": priority}, *lower)


def _update(session: Session, values: Mapping[str, Any], *conditions: Any) -> None:
    if values:
        session.execute(update(Job).where(*conditions).values(values), execution_options=BULK)


def list_notes(jobs: Sequence[Row[Any]], options: SubmitOptions) -> Iterator[str]:
    """Say which options have no effect on existing jobs, whose COLUMNS these are."""
    for state, (which, remedy) in _INEFFECTIVE.items():
        differing = [
            names
            for job in jobs
            if job.state == state and (names := _list_differing(job, options.given))
        ]
        if differing:
            names = [name for name in options.given if any(name in each for each in differing)]
            change = "changes" if len(names) == 1 else "change"
            options_text = join_words([_OPTIONS[name] for name in names], "and")
            jobs_text = plural(len(differing), "job")
            yield f"For {jobs_text} {which}, {options_text} {change} nothing{remedy}."
    renamed = sum(job.name != options.name for job in jobs) if options.name else 0
    if renamed:
        yield f"For {plural(renamed, 'job')} of an earlier sweep, --name changes nothing."


def _list_differing(job: Row[Any], values: Mapping[str, Any]) -> list[str]:
    return [name for name, value in values.items() if getattr(job, name) != value]
