"""REST under /api/v1: what the commands list, and with the token what they do."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, HTTPException, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field, model_validator

from models.database import Database
from models.errors import UsageError
from models.message import Priority
from models.spec import ExperimentSpec
from models.tables import Job
from service import jobs
from service.analysis.comparison import Comparison
from service.analysis.curves import CurveSet
from service.jobs import Change, SubmitOptions
from service.queries.jobs import count_jobs, list_log, show_job
from service.queries.pages import Page
from service.queries.queue import Queue, read_queue
from service.queries.rows import JobDetail, LogRow, WorkerRow
from service.queries.sweeps import SweepPage, SweepRequest, read_sweeps
from service.queries.workers import list_workers
from service.specs.grid import deduplicate, repeat
from service.specs.parsing import LONGEST_SECONDS
from service.web import actions
from service.web.actions import Action
from service.web.context import ContextParam
from service.web.errors import NOT_FOUND, RESPONSES, UNAUTHORIZED, JobNotFound
from service.web.forms import MAX_CRASHES
from service.web.params import MAX_ID, SELECTOR, ComparisonParams, JobsParams, SelectionParams


def require_token(request: Request, context: ContextParam) -> None:
    """Refuse a request without the token; a browser never sends this header by itself."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not context.access.is_token(token.strip()):
        raise HTTPException(
            401,
            "This needs the server's token: send the header Authorization: Bearer TOKEN",
            {"WWW-Authenticate": "Bearer"},
        )


reads = APIRouter(prefix="/api/v1", responses=RESPONSES)
writes = APIRouter(
    prefix="/api/v1",
    dependencies=[Depends(require_token)],
    responses={**RESPONSES, **UNAUTHORIZED},
)

JobId = Annotated[int, Path(ge=1, le=MAX_ID)]
Limit = Annotated[int, Query(ge=1, le=500)]
After = Annotated[int, Query(ge=0, le=MAX_ID)]
SelectionParam = Annotated[SelectionParams, Depends()]


class ComparisonResponse(BaseModel):
    """A comparison, with the title and the notes of `dq results --compare`."""

    title: tuple[str, ...]
    #: The conclusion first.
    notes: tuple[str, ...]
    comparison: Comparison


Seconds = Annotated[float, Field(gt=0, le=LONGEST_SECONDS, allow_inf_nan=False)]


class Selector(BaseModel):
    """The jobs to which an action is applied."""

    model_config = ConfigDict(extra="forbid")

    jobs: Annotated[
        str, Field(min_length=1, max_length=1000, json_schema_extra={"pattern": SELECTOR})
    ]


class SubmitRequest(BaseModel):
    """The specs of a sweep, and the options of all its jobs."""

    model_config = ConfigDict(extra="forbid")

    specs: Annotated[list[ExperimentSpec], Field(min_length=1, max_length=actions.MAX_SPECS)]
    #: Repeat each configuration with each of these seeds.
    seeds: Annotated[list[int], Field(max_length=actions.MAX_SPECS)] | None = None
    name: Annotated[str, Field(max_length=200)] | None = None
    tags: Annotated[tuple[str, ...], Field(max_length=20)] = ()
    priority: Priority | None = None
    timeout_seconds: Seconds | None = None
    #: Fail a job that makes no progress for this long.
    stall_seconds: Seconds | None = None
    #: Fail a job after this many crashes without progress.
    max_crashes: Annotated[int, Field(ge=1, le=MAX_CRASHES)] | None = None
    #: Keep the trained weights.
    keep_checkpoint: bool | None = None
    #: Run again the jobs that have finished or are queued.
    force: bool = False
    #: Made by the client: a request that is sent twice with it submits once.
    token: Annotated[str, Field(pattern="^[0-9a-f]{32}$")] | None = None

    @model_validator(mode="before")
    @classmethod
    def _refuse_booleans(cls, body: Any) -> Any:
        """Refuse true and false as numbers: pydantic would read 1 and 0."""
        flags = {"keep_checkpoint", "force"}
        fields = cls.model_fields.keys() - flags if isinstance(body, dict) else set()
        if any(_has_boolean(body.get(name)) for name in fields):
            raise ValueError("true and false are not numbers")
        return body

    @property
    def options(self) -> SubmitOptions:
        """The options of the submit."""
        options = self.model_dump(exclude={"specs", "seeds", "force", "token"})
        return SubmitOptions(**options, reuse=not self.force)


def _has_boolean(value: Any) -> bool:
    if isinstance(value, dict | list):
        return any(map(_has_boolean, value.values() if isinstance(value, dict) else value))
    return isinstance(value, bool)


class SubmitResponse(BaseModel):
    """The jobs of a sweep."""

    sweep_id: int
    created: tuple[int, ...]
    #: Finished before, with the same version of the trainer.
    reused: tuple[int, ...]
    #: Queued or running before.
    joined: tuple[int, ...]
    #: Why no message was sent to Redis yet, or null.
    unsent: str | None
    #: The options that do not apply to jobs that existed before, in sentences.
    remarks: tuple[str, ...]


@reads.get("/queue")
def get_queue(context: ContextParam, limit: Limit = 20) -> Queue:
    """Return the running jobs with the time left, the next queued ones, and the workers."""
    return read_queue(context.database, limit)


@reads.get("/workers")
def get_workers(context: ContextParam) -> list[WorkerRow]:
    """List the workers; one without a heartbeat for 15 seconds counts as dead."""
    return list_workers(context.database)


@reads.get("/sweeps")
def get_sweeps(
    context: ContextParam,
    selection: SelectionParam,
    limit: Annotated[int, Query(ge=1, le=100)] = 25,
    after: Annotated[int | None, Query(ge=0, le=MAX_ID)] = None,
    oldest_first: bool = False,
) -> SweepPage:
    """List the sweeps that made the selected jobs, a page at a time."""
    page = SweepRequest(limit, not oldest_first, after)
    return read_sweeps(context.database, None if selection.is_all else selection.condition, page)


@reads.get("/jobs")
def get_jobs(context: ContextParam, params: Annotated[JobsParams, Depends()]) -> Page:
    """List jobs with their metrics, a page at a time."""
    return params.read(context.database)


@reads.get("/jobs/{job_id}", responses=NOT_FOUND)
def get_job(context: ContextParam, job_id: JobId) -> JobDetail:
    """Return everything about a job: its spec, epochs, attempts and tags."""
    return find_job(context.database, job_id)


@reads.get("/jobs/{job_id}/log", responses=NOT_FOUND)
def get_log(
    context: ContextParam, job_id: JobId, after: After = 0, limit: Limit = 100
) -> list[LogRow]:
    """List a job's log after the line with this id, oldest first."""
    if not count_jobs(context.database, Job.id == job_id):
        raise JobNotFound(f"There is no job {job_id}.")
    return list_log(context.database, Job.id == job_id, after, limit)


@reads.get("/comparison")
def get_comparison(
    context: ContextParam, params: Annotated[ComparisonParams, Depends()]
) -> ComparisonResponse:
    """Compare configurations, as dq results --compare does."""
    comparison = params.read(context.database)
    table = params.make_table(comparison)
    return ComparisonResponse(title=table.title, notes=table.footnotes, comparison=comparison)


@reads.get("/curves")
def get_curves(context: ContextParam, params: Annotated[ComparisonParams, Depends()]) -> CurveSet:
    """Return learning curves averaged over seeds, with the single runs."""
    return params.read_curves(context.database)


@writes.post("/sweeps", status_code=201)
def post_sweep(context: ContextParam, request: SubmitRequest) -> SubmitResponse:
    """Submit a sweep; jobs that have finished or are queued are not run again."""
    grid = repeat(request.specs, request.seeds) if request.seeds else deduplicate(request.specs)
    submitted = actions.submit(context, grid.specs, request.options, request.token)
    return SubmitResponse(
        sweep_id=submitted.sweep_id,
        created=submitted.created,
        reused=submitted.finished_before,
        joined=submitted.open_before,
        unsent=submitted.publish_error,
        remarks=submitted.notes,
    )


@writes.post("/jobs/{action}")
def post_action(
    context: ContextParam, action: Action, selector: Annotated[Selector, Body()]
) -> list[Change]:
    """Cancel, retry, hold or release jobs; return what happened to each."""
    return actions.apply(context, action, selector.jobs)


@writes.post("/queue/pause")
def post_pause(context: ContextParam) -> Queue:
    """Pause the queue: no worker starts another job."""
    jobs.pause(context.database)
    return read_queue(context.database)


@writes.post("/queue/resume")
def post_resume(context: ContextParam) -> Queue:
    """Resume the queue: workers start jobs again."""
    jobs.resume(context.database, context.broker)
    return read_queue(context.database)


def find_job(database: Database, job_id: int) -> JobDetail:
    """Return a job; raise JobNotFound if there is none with this id."""
    try:
        return show_job(database, job_id)
    except UsageError:
        raise JobNotFound(f"There is no job {job_id}. Look in the list of jobs.") from None
