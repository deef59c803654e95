"""REST under /api/v1: the reads of the command line, and its actions for who bears the token."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Path, Query
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from models.database import Database
from models.errors import UsageError
from models.message import Priority
from models.spec import ExperimentSpec
from models.tables import Job
from service import jobs
from service.analysis.comparison import Comparison
from service.analysis.curves import CurveSet
from service.jobs import Change, SubmitOptions, Submitted
from service.queries.jobs import count_jobs, list_log, show_job
from service.queries.pages import Page
from service.queries.queue import Queue, read_queue
from service.queries.rows import JobDetail, LogRow, WorkerRow
from service.queries.sweeps import SweepPage, SweepRequest, read_sweeps
from service.queries.workers import list_workers
from service.reports.table import jsonable
from service.specs.grid import deduplicate, repeat
from service.specs.parsing import LONGEST_SECONDS
from service.web import actions
from service.web.actions import Action
from service.web.context import Ours, bearing_token
from service.web.errors import ANSWERS, FORBIDDEN, MISSING, NotThere
from service.web.forms import MOST_CRASHES
from service.web.params import MOST_ID, SELECTOR, ComparisonAsk, PageAsk, Selection


class StrictJson(JSONResponse):
    """JSON without NaN and infinity, which are none; they become null."""

    def render(self, content: Any) -> bytes:
        """Write a value."""
        return super().render(jsonable(content))


reads = APIRouter(prefix="/api/v1", responses=ANSWERS, default_response_class=StrictJson)
writes = APIRouter(
    prefix="/api/v1",
    dependencies=[Depends(bearing_token)],
    responses={**ANSWERS, **FORBIDDEN},
    default_response_class=StrictJson,
)

Id = Annotated[int, Path(ge=1, le=MOST_ID)]
Limit = Annotated[int, Query(ge=1, le=500)]
After = Annotated[int, Query(ge=0, le=MOST_ID)]
Chosen = Annotated[Selection, Depends()]


class ComparisonAnswer(BaseModel):
    """A comparison, with the words that `dq results --compare` puts around it."""

    title: tuple[str, ...]
    #: The conclusion first.
    notes: tuple[str, ...]
    comparison: Comparison


Seconds = Annotated[float, Field(gt=0, le=LONGEST_SECONDS, allow_inf_nan=False)]


class Selector(BaseModel):
    """The jobs that something is to be done to."""

    model_config = ConfigDict(extra="forbid")

    jobs: Annotated[
        str, Field(min_length=1, max_length=1000, json_schema_extra={"pattern": SELECTOR})
    ]


class SubmitRequest(BaseModel):
    """The specs of a sweep, and what all its jobs have in common."""

    model_config = ConfigDict(extra="forbid")

    specs: Annotated[list[ExperimentSpec], Field(min_length=1, max_length=actions.MOST_SPECS)]
    #: Repeat each configuration with each of these seeds.
    seeds: Annotated[list[int], Field(max_length=actions.MOST_SPECS)] | None = None
    name: Annotated[str, Field(max_length=200)] | None = None
    tags: Annotated[list[str], Field(max_length=20)] = []
    priority: Priority | None = None
    timeout_seconds: Seconds | None = None
    #: Fail a job that makes no progress for so long.
    stall_seconds: Seconds | None = None
    #: Fail a job after this many crashes without progress.
    max_crashes: Annotated[int, Field(ge=1, le=MOST_CRASHES)] | None = None
    #: Keep the trained weights.
    keep_checkpoint: bool | None = None
    #: Run again what is finished or queued already.
    force: bool = False
    #: Drawn by the client: a request that is sent twice with it submits once.
    token: Annotated[str, Field(pattern="^[0-9a-f]{32}$")] | None = None

    @property
    def order(self) -> SubmitOptions:
        """What the submit asks for besides the specs."""
        return SubmitOptions(
            name=self.name,
            tags=tuple(self.tags),
            priority=self.priority,
            timeout_seconds=self.timeout_seconds,
            stall_seconds=self.stall_seconds,
            max_crashes=self.max_crashes,
            keep_checkpoint=self.keep_checkpoint,
            reuse=not self.force,
        )


@reads.get("/queue")
def get_queue(here: Ours, limit: Limit = 20) -> Queue:
    """Return the running jobs with the time left, the next queued ones, and the workers."""
    return read_queue(here.database, limit)


@reads.get("/workers")
def get_workers(here: Ours) -> list[WorkerRow]:
    """List the workers; one without a heartbeat for 15 seconds is taken for dead."""
    return list_workers(here.database)


@reads.get("/sweeps")
def get_sweeps(
    here: Ours,
    chosen: Chosen,
    limit: Annotated[int, Query(ge=1, le=100)] = 25,
    after: Annotated[int | None, Query(ge=0, le=MOST_ID)] = None,
    oldest_first: bool = False,
) -> SweepPage:
    """List the sweeps that made the selected jobs, a page at a time."""
    request = SweepRequest(limit, not oldest_first, after)
    return read_sweeps(here.database, None if chosen.is_all else chosen.condition, request)


@reads.get("/jobs")
def get_jobs(here: Ours, ask: Annotated[PageAsk, Depends()]) -> Page:
    """List jobs with their metrics, a page at a time."""
    return ask.read(here.database)


@reads.get("/jobs/{job_id}", responses=MISSING)
def get_job(here: Ours, job_id: Id) -> JobDetail:
    """Return everything about a job: its spec, epochs, attempts and tags."""
    return find_job(here.database, job_id)


@reads.get("/jobs/{job_id}/log", responses=MISSING)
def get_log(here: Ours, job_id: Id, after: After = 0, limit: Limit = 100) -> list[LogRow]:
    """List a job's log after the line with that id, oldest first."""
    if not count_jobs(here.database, Job.id == job_id):
        raise NotThere(f"There is no job {job_id}.")
    return list_log(here.database, Job.id == job_id, after, limit)


@reads.get("/comparison")
def get_comparison(here: Ours, ask: Annotated[ComparisonAsk, Depends()]) -> ComparisonAnswer:
    """Compare configurations, as dq results --compare does."""
    comparison = ask.read(here.database)
    table = ask.tabulate(comparison)
    return ComparisonAnswer(title=table.title, notes=table.footnotes, comparison=comparison)


@reads.get("/curves")
def get_curves(here: Ours, ask: Annotated[ComparisonAsk, Depends()]) -> CurveSet:
    """Return learning curves averaged over seeds, with the single runs."""
    return ask.read_curves(here.database)


@writes.post("/sweeps", status_code=201)
def post_sweep(here: Ours, wanted: SubmitRequest) -> Submitted:
    """Submit a sweep; what is finished or queued already is not run again."""
    grid = repeat(wanted.specs, wanted.seeds) if wanted.seeds else deduplicate(wanted.specs)
    return actions.submit(here, grid.specs, wanted.order, wanted.token)


@writes.post("/jobs/{action}")
def post_action(here: Ours, action: Action, chosen: Annotated[Selector, Body()]) -> list[Change]:
    """Cancel, retry, hold or release jobs; return what happened to each."""
    return actions.act(here, action, chosen.jobs)


@writes.post("/queue/pause")
def post_pause(here: Ours) -> Queue:
    """Pause the queue: no worker starts another job."""
    jobs.pause(here.database)
    return read_queue(here.database)


@writes.post("/queue/resume")
def post_resume(here: Ours) -> Queue:
    """Resume the queue: workers start jobs again."""
    jobs.resume(here.database, here.broker)
    return read_queue(here.database)


def find_job(database: Database, job_id: int) -> JobDetail:
    """Return a job; raise NotThere if there is none of that id."""
    try:
        return show_job(database, job_id)
    except UsageError:
        raise NotThere(f"There is no job {job_id}. Look in the list of jobs.") from None
