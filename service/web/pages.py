"""The pages: the queue, sweeps, jobs, a comparison, one job, and the form of a submit."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, get_args

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from models.datasets import DATASETS
from models.errors import DqError, UsageError
from models.message import Priority
from models.spec import ExperimentSpec
from models.state import JobState
from models.tables import Job
from service import jobs
from service.analysis.comparison import Comparison
from service.formatting import format_field, plural
from service.jobs.preview import preview
from service.queries.estimate import estimate_remaining
from service.queries.explanations import explain_wait
from service.queries.failures import Failure, advise, list_failures
from service.queries.jobs import list_log
from service.queries.queue import read_queue
from service.queries.selectors import in_sweep
from service.queries.sweeps import SweepPage, SweepRequest, read_sweeps
from service.reports.job_tables import (
    attempt_table,
    epoch_table,
    job_table,
    log_table,
    spec_table,
    worker_table,
)
from service.reports.plot import draw_figure, draw_run
from service.reports.table import Table, render
from service.specs.grid import Grid
from service.web import actions
from service.web.api import Chosen, Id, find_job
from service.web.context import Ours
from service.web.forms import (
    MORE,
    OwnForm,
    check_origin,
    name_field,
    read_form,
    read_order,
    read_specs,
    warn,
)
from service.web.params import MOST_ID, ComparisonView, Metric, PageAsk

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

_LOG_LINES = 100
_PREVIEWED = 50
#: Columns of a lower one, or the same, are hidden on a phone.
_PRIORITY_OF_PHONES = 60
#: What the pages ask for that is not in a table's column of the same name.
_SORTS = {"job_id": "id", "images": "train_size"}


@router.get("/")
def show_queue(request: Request, here: Ours) -> HTMLResponse:
    """Show the queue now."""
    queue = read_queue(here.database)
    workers = worker_table(queue.workers)
    return here.render(request, "queue.html", queue=queue, workers=workers)


@router.get("/sweeps")
def show_sweeps(
    request: Request,
    here: Ours,
    chosen: Chosen,
    after: Annotated[int | None, Query(ge=0, le=MOST_ID)] = None,
    order: str = "",
) -> HTMLResponse:
    """Show sweeps, a page of them."""
    wanted = SweepRequest(is_descending=order != "oldest", after=after)
    which = None if chosen.is_all else chosen.condition
    page = read_sweeps(here.database, which, wanted)
    return here.render(
        request,
        "sweeps.html",
        page=page,
        failures=_list_failures_of(here, page),
        chosen=chosen,
        order=order,
        is_first=after is None,
    )


def _list_failures_of(here: Ours, page: SweepPage) -> Mapping[int, list[Failure]]:
    """Return by sweep why jobs of it failed."""
    failed = [row.sweep_id for row in page.rows if row.states[JobState.FAILED]]
    return {sweep_id: list_failures(here.database, in_sweep(sweep_id)) for sweep_id in failed}


@router.get("/jobs")
def show_jobs(request: Request, here: Ours, ask: Annotated[PageAsk, Depends()]) -> HTMLResponse:
    """Show jobs, a page of them."""
    page = ask.read(here.database)
    table = job_table(page.rows, epoch_choice=ask.epoch_choice)
    return here.render(
        request,
        "jobs.html",
        ask=ask,
        page=page,
        failures=[] if ask.is_all else list_failures(here.database, ask.condition),
        table=table,
        **_sort_columns(table, [row.spec for row in page.rows]),
        sorts=_list_sorts(ask),
        states=list(JobState),
    )


def _sort_columns(table: Table, specs: Sequence[ExperimentSpec]) -> dict[str, list[str]]:
    """Name the columns that set jobs apart, and those that a phone has no room for."""
    fields = ExperimentSpec.model_fields.keys() - {"seed"}
    varying = {
        name
        for name in fields
        if len({format_field(name, getattr(spec, name)) for spec in specs}) > 1
    } or {"keep"}
    minor = {column.name for column in table.columns if column.priority <= _PRIORITY_OF_PHONES}
    apart = varying | {"job_id", "seed"}
    rare = (minor | fields | {"progress"}) - apart - {"reason"}
    names = [column.name for column in table.columns]
    return {
        "varying": [name for name in names if name in apart],
        "rare": [name for name in names if name in rare],
    }


def _list_sorts(ask: PageAsk) -> Mapping[str, tuple[str, str]]:
    """Return, by column, what its heading sorts by, and how the list is sorted by it now."""
    field, _, direction = ask.sort.partition(":")
    found = {}
    for column in ("job_id", "dataset", "lr", "seed", *get_args(Metric)):
        name = _SORTS.get(column, column)
        is_now = name == field
        is_up = direction == "asc" or (not direction and name.endswith("_loss"))
        now = ("ascending" if is_up else "descending") if is_now else ""
        turned = "desc" if is_up else "asc"
        found[column] = (f"{name}:{turned}" if is_now else name, now)
    return found


@router.get("/jobs/{job_id}")
def show_job(request: Request, here: Ours, job_id: Id) -> HTMLResponse:
    """Show one job."""
    detail = find_job(here.database, job_id)
    row = detail.row
    has_failed = row.state is JobState.FAILED and row.reason
    return here.render(
        request,
        "job.html",
        detail=detail,
        job=row,
        advice=advise(job_id, row.reason or "", row.spec) if has_failed else None,
        waits=explain_wait(here.database, job_id),
        figures={kind: draw_run(detail.epochs, kind) for kind in ("accuracy", "loss")},
        epochs=epoch_table(detail),
        attempts=attempt_table(detail),
        log=log_table(list_log(here.database, Job.id == job_id)[-_LOG_LINES:]),
        provenance=detail.provenance,
    )


@router.get("/compare")
def show_comparison(
    request: Request, here: Ours, view: Annotated[ComparisonView, Depends()]
) -> HTMLResponse:
    """Show a comparison and its curves; without words, of what could be compared."""
    values: dict[str, Any] = {"view": view, "metrics": get_args(Metric), "comparison": None}
    if view.is_all:
        recent = read_sweeps(here.database, None, SweepRequest(limit=10))
        return here.render(request, "compare.html", recent=recent.rows, **values)
    values["comparison"] = comparison = view.read(here.database)
    return here.render(
        request,
        "compare.html",
        **values,
        table=view.tabulate(comparison),
        figure=_draw(here, view),
        failures=list_failures(here.database, view.condition),
        is_live=bool(comparison.unfinished),
        baselines=_list_baselines(comparison),
    )


def _draw(here: Ours, view: ComparisonView) -> Mapping[str, Any] | None:
    """Draw the curves, if there is any epoch yet."""
    try:
        curves = view.read_curves(here.database)
    except UsageError:
        raise
    except DqError:
        return None
    return draw_figure(curves, with_runs=view.runs, is_log=view.log)


def _list_baselines(comparison: Comparison) -> list[tuple[str, str]]:
    rows = sorted(comparison.rows, key=lambda row: row.jobs or (MOST_ID,))
    return [(row.configuration, row.label) for row in rows]


@router.get("/compare.csv")
def download_csv(here: Ours, view: Annotated[ComparisonView, Depends()]) -> Response:
    """Send the comparison as CSV: every field, at full precision."""
    return _download(view.tabulate(view.read(here.database)), "csv")


@router.get("/compare.md")
def download_markdown(here: Ours, view: Annotated[ComparisonView, Depends()]) -> Response:
    """Send the comparison as Markdown, as the page shows it."""
    return _download(view.tabulate(view.read(here.database)), "md")


def _download(table: Table, kind: Any) -> Response:
    text = render(table, kind, width=0, color=False, ascii=False)
    types = {"csv": "text/csv; charset=utf-8", "md": "text/markdown; charset=utf-8"}
    headers = {"content-disposition": f'attachment; filename="comparison.{kind}"'}
    return Response(f"{text}\n", headers=headers, media_type=types[kind])


@router.get("/submit")
def show_submit(request: Request, here: Ours) -> HTMLResponse:
    """Show the form of a submit, and what would come of what is in it."""
    form = dict(request.query_params)
    return _render_form(request, here, form, _preview(here, form) if form else {})


def _render_form(
    request: Request, here: Ours, form: Mapping[str, str], values: Mapping[str, Any]
) -> HTMLResponse:
    """Show the form with what was typed into it."""
    found: dict[str, Any] = {"grid": None, "trouble": "", "said": [], "table": None, **values}
    return here.render(
        request,
        "submit.html",
        form=form,
        has_more=any(form.get(name) for name in MORE),
        datasets=list(DATASETS),
        priorities=[priority.name.lower() for priority in Priority],
        **found,
    )


def _preview(here: Ours, form: Mapping[str, str]) -> dict[str, Any]:
    try:
        grid: Grid = read_specs(form)
        read_order(form)
    except UsageError as error:
        return {"trouble": name_field(str(error))}
    warning = warn(form)
    found = preview(here.database, grid.specs, is_forced=bool(form.get("force")))
    return {
        "grid": grid,
        "said": [*([warning] if warning else []), *found.sentences],
        "table": spec_table(grid.specs[:_PREVIEWED], found.known),
    }


@router.post("/submit")
def submit(request: Request, here: Ours, form: OwnForm) -> Response:
    """Queue what the form says, and show its jobs; or show the form again with what is wrong."""
    try:
        grid = read_specs(form)
        submitted = actions.submit(here, grid.specs, read_order(form))
    except UsageError as error:
        answer = _render_form(request, here, form, {"trouble": name_field(str(error))})
        answer.status_code = 400
        return answer
    return here.tell(f"/jobs?jobs=s{submitted.sweep_id}", _describe(here, submitted))


def _describe(here: Ours, submitted: jobs.Submitted) -> str:
    parts = [
        (len(submitted.created), "new job", ""),
        (len(submitted.finished_before), "job", " finished before"),
        (len(submitted.open_before), "job", " queued before"),
    ]
    known = ", ".join(f"{plural(number, noun)}{how}" for number, noun, how in parts if number)
    unsent = submitted.publish_error and submitted.publish_error.rstrip(".")
    late = f" Saved but not queued: {unsent}. Sent as soon as Redis answers." if unsent else ""
    is_open = submitted.created or submitted.open_before
    rest = estimate_remaining(here.database, in_sweep(submitted.sweep_id)) if is_open else ""
    said = [f"Sweep s{submitted.sweep_id}: {known}.{late}", *submitted.notes, str(rest)]
    return " ".join(filter(None, said))


@router.post("/act/{action}")
def act(here: Ours, action: str, form: OwnForm) -> RedirectResponse:
    """Do something to jobs, or to the whole queue, and go back."""
    if action == "pause":
        jobs.pause(here.database)
        told = "The queue is paused. Running jobs continue, and no other job starts."
    elif action == "resume":
        jobs.resume(here.database, here.broker)
        told = "The queue is running again."
    elif action in get_args(actions.Action):
        changes = actions.act(here, action, form["jobs"])  # type: ignore[arg-type]  # it is one
        told = _tell(changes)
    else:
        raise HTTPException(404, f"There is no action {action!r}.")
    return here.tell(form["back"] or "/", told)


def _tell(changes: list[jobs.Change]) -> str:
    if not changes:
        return "No job matches."
    counted: dict[str, int] = {}
    for change in changes:
        counted[change.change] = counted.get(change.change, 0) + 1
    if len(changes) == 1:
        return f"Job {changes[0].job_id}: {changes[0].change}."
    return f"{len(changes):,} jobs: {', '.join(f'{n:,} {what}' for what, n in counted.items())}."


@router.get("/login")
def show_login(request: Request, here: Ours, token: str = "") -> Response:
    """Open a session for who brings the token, as the address that `dq web` prints does."""
    if token and here.access.admits(token):
        return here.open_session(request)
    answer = here.render(request, "login.html", is_wrong=bool(token))
    answer.status_code = 401 if token else 200
    return answer


@router.post("/login")
async def login(request: Request, here: Ours) -> Response:
    """Open a session for who types the token."""
    check_origin(request, here)
    form = await read_form(request)
    if here.access.admits(form["token"].strip()):
        return here.open_session(request)
    answer = here.render(request, "login.html", is_wrong=True)
    answer.status_code = 401
    return answer


@router.post("/logout")
def logout(here: Ours, form: OwnForm) -> RedirectResponse:
    """End the session."""
    return here.close_session(
        here.tell(form["back"] or "/", "You are signed out. You can still look at everything.")
    )
