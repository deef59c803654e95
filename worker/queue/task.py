"""The one Celery task, and what its process does before the first one."""

from typing import Any

from celery import Task, shared_task, signals

from models.message import TASK
from worker import logs, readiness  # noqa: F401 - logs connects its set-up to each process here

# Torch is imported in the child alone: its parent stays small, and answers while the child trains.


@signals.worker_process_init.connect  # type: ignore[untyped-decorator] # Celery publishes no types
def prepare(**_: Any) -> None:
    """Import what jobs need, and listen for the signal to stop."""
    from worker.execution import context, runner  # noqa: F401, PLC0415 - so that the first job need not wait for it

    context.listen_for_release()
    readiness.report(readiness.RUNS_JOBS)


@shared_task(name=TASK, bind=True)  # type: ignore[untyped-decorator] # Celery publishes no types
def run_job(task: Task, job_id: int, spec: dict[str, Any]) -> None:
    """Run what is queued: the message only says that there is work."""
    from worker.execution import runner  # noqa: PLC0415
    from worker.execution.context import worker_context  # noqa: PLC0415

    runner.run_all(worker_context(task.request.hostname))
