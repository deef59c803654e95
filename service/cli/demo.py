"""`dq demo`: the notebook's comparison, small enough for a CPU."""

import uuid

import click

from models.message import Priority
from models.settings import Settings
from models.spec import ExperimentSpec
from service.analysis.comparison import compare
from service.cli.context import Context, open_context
from service.cli.output import on_ctrl_c, print_message, print_table
from service.cli.progress_views import open_bars
from service.cli.worker import worker_arguments
from service.jobs import SubmitOptions, submit
from service.operations import worker_program
from service.operations.local_service import LocalService
from service.queries.jobs import list_compared_jobs
from service.queries.selectors import ids_condition
from service.queries.watching import follow
from service.reports.comparison_table import comparison_table

_KEEPS = ((0.9, 0.8, 0.8), (1.0, 1.0, 1.0))
_SEEDS = (0, 1)
#: The notebook's experiment in all but the width: 256 is what two CPU cores train in a minute.
_MNIST = ExperimentSpec(hidden=(256, 256, 256))
#: 1,197 images of 8x8 pixels want smaller batches and more passes.
_DIGITS = ExperimentSpec(dataset="digits", hidden=(256, 256, 256), batch_size=100, epochs=30)


@click.command
def command() -> None:
    """Train with dropout and without, two seeds each, through the real queue; print the table.

    It starts what it needs, and stops what it started. The jobs stay, tagged "demo".
    """
    settings = Settings.load()
    with on_ctrl_c("Nothing is queued yet. Type: dq demo"):
        base = _choose_spec(settings)
    settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    log = settings.home / "demo-worker.log"
    with LocalService(settings, worker_arguments("auto", None), log=log) as local:
        if local.others:
            print_message(f"{local.others[0]} already runs here: its workers run the demo, too.")
        _run(open_context(), base, local)


def _choose_spec(settings: Settings) -> ExperimentSpec:
    """Return the spec on MNIST if it can be had, else on the digits that are always there."""
    if all(file["state"] == "ok" for file in worker_program.ask(["verify", "mnist"])):
        return _MNIST
    if worker_program.call(["fetch", "mnist", "--attempt"]) == 0:
        return _MNIST
    print_message(
        f"MNIST is not in {settings.data_dir} and cannot be downloaded, "
        "so this demo runs on scikit-learn's 1,797 digits instead."
    )
    return _DIGITS


def _run(context: Context, base: ExperimentSpec, local: LocalService) -> None:
    """Submit the jobs, show their progress, then their comparison."""
    specs = [
        base.model_copy(update={"keep": keep, "seed": seed}) for seed in _SEEDS for keep in _KEEPS
    ]
    print_message(f"{len(_KEEPS)} configurations x {len(_SEEDS)} seeds = {len(specs)} jobs")
    options = SubmitOptions(
        context.settings.owner, name="demo", tags=("demo",), priority=Priority.HIGH
    )
    submitted = submit(context.database, context.broker, specs, options, uuid.uuid4().hex)
    which, again = ids_condition(submitted.job_ids), f"dq wait s{submitted.sweep_id}"
    kept = f"The worker stops, and its jobs are kept. Type: dq up, and in another terminal: {again}"
    with (
        on_ctrl_c(f"The jobs go on. Type: {again}" if local.others else kept),
        open_bars() as show,
    ):
        for progress in follow(context.database, which):
            local.check()
            show(progress)
    compared = compare(list_compared_jobs(context.database, which))
    table = comparison_table(compared, selector=f"s{submitted.sweep_id}")
    print_table(table, "table")
    print_message(f"\nNext: dq show {submitted.job_ids[0]}; dq submit --help; dq results --compare")
