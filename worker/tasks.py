"""The one Celery task, and what its process does before the first one."""

from typing import Any

from celery import Task, shared_task, signals

from models.message import TASK, Bell
from worker import logs, ready  # noqa: F401 - logs connects its set-up to each process here

# Torch is imported in the child alone: its parent stays small, and answers while the child trains.


@signals.worker_process_init.connect  # type: ignore[untyped-decorator] # Celery publishes no types
def prepare(**_: Any) -> None:
    """Import what jobs need, and listen for the word to stop."""
    from worker import process, runner  # noqa: F401 - so that the first job need not wait for it

    process.listen_for_release()
    ready.say(ready.RUNS_JOBS)


@shared_task(name=TASK, bind=True)  # type: ignore[untyped-decorator] # Celery publishes no types
def run_job(task: Task, job_id: int, spec: dict[str, Any]) -> None:
    """Run the job that a message rings for; the consumer let no other arguments through."""
    from worker import runner
    from worker.process import worker_process

    runner.run(Bell(job_id, spec), worker_process(task.request.hostname))
