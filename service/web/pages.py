"""The pages: the queue, sweeps, jobs, a comparison, one job, and the form of a submit."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, get_args

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from models.datasets import DATASETS
from models.errors import UsageError
from models.message import Priority
from models.spec import ExperimentSpec
from models.state import JobState
from models.tables import Job
from service import jobs
from service.analysis.comparison import Comparison
from service.analysis.curves import NoEpochs
from service.analysis.row_order import ROW_FIELDS, RowOrder, parse_row_order
from service.formatting import find_varying, plural
from service.jobs.preview import preview
from service.queries.estimate import estimate_remaining
from service.queries.explanations import explain_wait
from service.queries.failures import advise, list_failures
from service.queries.jobs import list_log
from service.queries.pages import parse_sort
from service.queries.queue import read_queue
from service.queries.selectors import in_sweep
from service.queries.sweeps import SweepRequest, read_sweeps
from service.reports.detail_tables import attempt_table, epoch_table, log_table
from service.reports.job_tables import job_table, spec_table
from service.reports.plots.chart import Chart
from service.reports.plots.curves import chart_curves, chart_run
from service.reports.plots.differences import chart_differences
from service.reports.plots.rates import chart_rates
from service.reports.progress_tables import worker_table
from service.reports.table import Table, render
from service.specs.options import warn_about_low_keep
from service.web import actions
from service.web.api import JobId, SelectionParam, find_job
from service.web.context import Context, ContextParam
from service.web.forms import (
    MORE_FIELDS,
    Form,
    SessionForm,
    check_origin,
    read_form,
    read_options,
    read_specs,
    use_label,
)
from service.web.params import MAX_ID, ComparisonPageParams, JobsParams, Metric

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

_LOG_LINES = 100
_PREVIEW_ROWS = 50
#: A phone hides the columns of at most this priority.
_HIDDEN_PRIORITY = 60

#: What columns of a comparison are called in an order.
_ORDERS = {
    "others": "missing",
    "std": "sd",
    "difference": "diff",
    "difference_interval": "diff_interval",
    "p_holm": "p",
}

ComparisonParam = Annotated[ComparisonPageParams, Depends()]


@router.get("/")
def show_queue(request: Request, context: ContextParam) -> HTMLResponse:
    """Show the queue."""
    queue = read_queue(context.database)
    return context.render(request, "queue.html", queue=queue, workers=worker_table(queue.workers))


@router.get("/sweeps")
def show_sweeps(
    request: Request,
    context: ContextParam,
    selection: SelectionParam,
    after: Annotated[int | None, Query(ge=0, le=MAX_ID)] = None,
    order: str = "",
) -> HTMLResponse:
    """Show a page of sweeps."""
    wanted = SweepRequest(is_descending=order != "oldest", after=after)
    condition = None if selection.is_all else selection.condition
    page = read_sweeps(context.database, condition, wanted)
    failed = [row.sweep_id for row in page.rows if row.states[JobState.FAILED]]
    return context.render(
        request,
        "sweeps.html",
        page=page,
        failures={each: list_failures(context.database, in_sweep(each)) for each in failed},
        selection=selection,
        order=order,
        is_first=after is None,
    )


@router.get("/jobs")
def show_jobs(
    request: Request, context: ContextParam, params: Annotated[JobsParams, Depends()]
) -> HTMLResponse:
    """Show a page of jobs."""
    page = params.read(context.database)
    table = job_table(page.rows, epoch_choice=params.epoch_choice)
    varying, minor = _classify_columns(table, [row.spec for row in page.rows])
    return context.render(
        request,
        "jobs.html",
        params=params,
        page=page,
        failures=[] if params.is_all else list_failures(context.database, params.condition),
        table=table,
        varying=varying,
        minor=minor,
        sorts=_list_sorts(params),
        states=list(JobState),
    )


def _classify_columns(table: Table, specs: Sequence[ExperimentSpec]) -> tuple[list[str], list[str]]:
    """Name the columns in which the jobs differ, and those that a phone hides."""
    varying = {*find_varying(specs)} - {"seed"} or {"keep"}
    varying |= {"job_id", "seed"}
    minor = {column.name for column in table.columns if column.priority <= _HIDDEN_PRIORITY}
    minor |= ExperimentSpec.model_fields.keys() | {"progress"}
    names = [column.name for column in table.columns]
    return (
        [name for name in names if name in varying],
        [name for name in names if name in minor - varying - {"reason"}],
    )


def _list_sorts(params: JobsParams) -> Mapping[str, tuple[str, str]]:
    """Return by column the sort of its heading, and the direction if the jobs are sorted by it."""
    sort = parse_sort(params.sort)
    opposite, direction = ("asc", "descending") if sort.is_descending else ("desc", "ascending")
    columns = {name: name for name in ("dataset", "lr", "seed", *get_args(Metric))}
    return {
        column: (f"{name}:{opposite}", direction) if name == sort.field else (name, "")
        for column, name in {"job_id": "id", **columns}.items()
    }


@router.get("/jobs/{job_id}")
def show_job(request: Request, context: ContextParam, job_id: JobId) -> HTMLResponse:
    """Show one job."""
    detail = find_job(context.database, job_id)
    row = detail.row
    has_failed = row.state is JobState.FAILED and row.reason
    return context.render(
        request,
        "job.html",
        detail=detail,
        job=row,
        advice=advise(job_id, row.reason or "", row.spec) if has_failed else None,
        waits=explain_wait(context.database, job_id),
        charts={kind: chart_run(detail.epochs, kind) for kind in ("accuracy", "loss")},
        epochs=epoch_table(detail),
        attempts=attempt_table(detail),
        log=log_table(list_log(context.database, Job.id == job_id)[-_LOG_LINES:]),
        provenance=detail.provenance,
    )


@router.get("/compare")
def show_comparison(
    request: Request, context: ContextParam, params: ComparisonParam
) -> HTMLResponse:
    """Show a comparison and its curves; without a selection, the sweeps that could be compared."""
    values: dict[str, Any] = {"params": params, "metrics": get_args(Metric), "comparison": None}
    if params.is_all:
        recent = read_sweeps(context.database, None, SweepRequest(limit=10))
        return context.render(request, "compare.html", recent=recent.rows, **values)
    values["comparison"] = comparison = params.read(context.database)
    table = params.make_table(comparison)
    return context.render(
        request,
        "compare.html",
        **values,
        table=table,
        sorts=_list_row_orders(table, params),
        rates=chart_rates(comparison, table.title),
        differences=chart_differences(comparison, table.title),
        curves=_chart_curves(context, params, comparison),
        failures=list_failures(context.database, params.condition),
        is_live=bool(comparison.unfinished),
        baselines=_list_baselines(comparison),
    )


def _chart_curves(
    context: Context, params: ComparisonPageParams, comparison: Comparison
) -> Chart | None:
    """Chart the curves, if any epoch is finished."""
    try:
        curves = params.read_curves(context.database, comparison.baseline.configuration)
    except NoEpochs:
        return None
    return chart_curves(curves, with_runs=params.runs, is_log=params.log)


def _list_row_orders(table: Table, params: ComparisonPageParams) -> Mapping[str, tuple[str, str]]:
    """Return by column the order of its heading, and the direction if it sorts the rows."""
    order = parse_row_order(params.sort, params.metric) if params.sort else None
    names = {column.name: _ORDERS.get(column.name, column.name) for column in table.columns}
    return {
        column: _describe_order(name, order if order and order.field == name else None)
        for column, name in names.items()
        if name in ROW_FIELDS
    }


def _describe_order(name: str, order: RowOrder | None) -> tuple[str, str]:
    if order is None:
        return f"{name}:asc", ""
    return (f"{name}:asc", "descending") if order.is_descending else (f"{name}:desc", "ascending")


def _list_baselines(comparison: Comparison) -> list[tuple[str, str]]:
    rows = sorted(comparison.rows, key=lambda row: row.jobs or (MAX_ID,))
    return [(row.configuration, row.label) for row in rows]


@router.get("/compare.{kind}")
def download_comparison(
    context: ContextParam, params: ComparisonParam, kind: Literal["csv", "md"]
) -> Response:
    """Send the comparison as CSV, with every field at full precision, or as Markdown."""
    table = params.make_table(params.read(context.database))
    text = render(table, kind, width=0, color=False, ascii=False)
    media_type = {"csv": "text/csv", "md": "text/markdown"}[kind]
    headers = {"content-disposition": f'attachment; filename="comparison.{kind}"'}
    return Response(f"{text}\n", headers=headers, media_type=f"{media_type}; charset=utf-8")


@router.get("/submit")
def show_submit(request: Request, context: ContextParam) -> HTMLResponse:
    """Show the form of a submit, and a preview of what it would submit."""
    form = Form(request.query_params)
    return _render_form(request, context, form, **_preview(context, form) if form else {})


def _preview(context: Context, form: Form) -> dict[str, Any]:
    try:
        grid = read_specs(form)
        read_options(form)
    except UsageError as error:
        return {"error": use_label(str(error))}
    warning = warn_about_low_keep(form["dropout"].split())
    found = preview(context.database, grid.specs, is_forced=bool(form["force"]))
    return {
        "grid": grid,
        "notes": [*([warning] if warning else []), *found.sentences],
        "table": spec_table(grid.specs[:_PREVIEW_ROWS], found.known),
    }


def _render_form(
    request: Request, context: Context, form: Form, status: int = 200, **values: Any
) -> HTMLResponse:
    """Show the form as it was filled in."""
    return context.render(
        request,
        "submit.html",
        status,
        form=form,
        has_more=any(form[name] for name in MORE_FIELDS),
        datasets=list(DATASETS),
        priorities=[priority.name.lower() for priority in Priority],
        **{"grid": None, "error": "", **values},
    )


@router.post("/submit")
def submit(request: Request, context: ContextParam, form: SessionForm) -> Response:
    """Submit what the form says, and show the jobs; or show the form again with the error."""
    try:
        submitted = actions.submit(context, read_specs(form).specs, read_options(form))
    except UsageError as error:
        return _render_form(request, context, form, 400, error=use_label(str(error)))
    message = _describe_submit(context, submitted)
    return context.redirect(f"/jobs?jobs=s{submitted.sweep_id}", message)


def _describe_submit(context: Context, submitted: jobs.Submitted) -> str:
    parts = [
        (len(submitted.created), "new job", ""),
        (len(submitted.finished_before), "job", " finished before"),
        (len(submitted.open_before), "job", " queued before"),
    ]
    listed = ", ".join(f"{plural(number, noun)}{when}" for number, noun, when in parts if number)
    sentences = [f"Sweep s{submitted.sweep_id}: {listed}."]
    if submitted.publish_error:
        reason = submitted.publish_error.rstrip(".")
        sentences += [f"Saved but not queued: {reason}. Sent as soon as Redis answers."]
    sentences += submitted.notes
    if submitted.created or submitted.open_before:
        sentences += [str(estimate_remaining(context.database, in_sweep(submitted.sweep_id)))]
    return " ".join(filter(None, sentences))


@router.post("/act/{action}")
def apply_action(context: ContextParam, action: str, form: SessionForm) -> RedirectResponse:
    """Apply an action to jobs or to the whole queue, and go back."""
    if action == "pause":
        jobs.pause(context.database)
        message = "The queue is paused. Running jobs continue, and no other job starts."
    elif action == "resume":
        jobs.resume(context.database, context.broker)
        message = "The queue is running again."
    elif action in get_args(actions.Action):
        changes = actions.apply(context, action, form["jobs"])  # type: ignore[arg-type]  # it is one
        message = _describe_changes(changes)
    else:
        raise HTTPException(404, f"There is no action {action!r}.")
    return context.redirect(form["return_to"], message)


def _describe_changes(changes: Sequence[jobs.Change]) -> str:
    if not changes:
        return "No job matches."
    if len(changes) == 1:
        return f"Job {changes[0].job_id}: {changes[0].change}."
    counts = Counter(change.change for change in changes)
    listed = ", ".join(f"{number:,} {change}" for change, number in counts.items())
    return f"{len(changes):,} jobs: {listed}."


@router.get("/login")
def show_login(request: Request, context: ContextParam, token: str = "") -> Response:
    """Sign in with the token of the address that `dq web` prints, or show the form."""
    if token:
        return _sign_in(request, context, token)
    return context.render(request, "login.html", is_wrong=False)


@router.post("/login")
def login(
    request: Request, context: ContextParam, form: Annotated[Form, Depends(read_form)]
) -> Response:
    """Sign in with the token of the form."""
    check_origin(request, context)
    return _sign_in(request, context, form["token"].strip())


def _sign_in(request: Request, context: Context, token: str) -> Response:
    if context.access.is_token(token):
        return context.sign_in(request)
    return context.render(request, "login.html", 401, is_wrong=True)


@router.post("/logout")
def logout(context: ContextParam, form: SessionForm) -> RedirectResponse:
    """End the session."""
    message = "You are signed out. You can still look at everything."
    return context.sign_out(context.redirect(form["return_to"], message))
