"""A dq that runs for real, for a test to strike with one fault; built of what chaos strikes."""

import os
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import psutil

from chaos.figures import Figures, figures_of
from chaos.stack import DQ, DurableRedis, Stack, WorkerHost, kill
from integration import rows
from models.settings import Settings
from models.spec import ExperimentSpec
from models.state import FINAL_STATES, JobState
from models.tables import Attempt, Job
from servers import short_folder, wait_until
from service.jobs import SubmitOptions, Submitted, cancel, resume, submit
from service.jobs.broker import Broker
from service.operations.schema import upgrade
from service.queries.selectors import ids_condition

#: Trains for seconds, and writes a checkpoint at many an epoch's end.
LONG = ExperimentSpec(
    dataset="digits", hidden=(128, 128), keep=(0.9, 0.8), batch_size=20, epochs=200
)
#: Trains for seconds, too, but has only one epoch.
ONE_EPOCH = ExperimentSpec(
    dataset="digits", hidden=(2048, 2048), keep=(0.9, 0.8), batch_size=1, epochs=1
)
#: CPU time in which some of the batches of either are trained, and far from all.
BATCHES_SECONDS = 0.5
ENDLESS = LONG.model_copy(update={"epochs": 10**6})
#: Trains for a few hundredths of a second.
SHORT = rows.SPEC
#: What a step may take; other work on the host makes it slow.
PATIENCE = 60.0
#: Before each look at something: looks take time from what is looked at.
LOOK_SECONDS = 0.03


@dataclass
class Stage(Stack):
    """Redis, the database at `url`, and the workers of it."""

    url: str = ""
    lease_seconds: float = 2.0

    @cached_property
    def settings(self) -> Settings:
        return super().settings.model_copy(update={"lease_seconds": self.lease_seconds})

    @property
    def _database_url(self) -> str:
        return self.url or super()._database_url

    @property
    def broker(self) -> Broker:
        return Broker(self.settings)

    @property
    def worker(self) -> WorkerHost:
        """The first one."""
        return self.workers[0]

    def dq(
        self, *words: str, check: bool = True, **variables: str
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command to its end, which must be a good one unless `check` says otherwise."""
        return subprocess.run(
            [DQ, *words],
            env=self._environment() | variables,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=check,
        )

    def start_dq(self, *words: str) -> "subprocess.Popen[bytes]":
        """Start a command that says nothing."""
        nowhere = subprocess.DEVNULL
        return subprocess.Popen(
            [DQ, *words], env=self._environment(), stdout=nowhere, stderr=nowhere
        )

    def submit(self, *specs: ExperimentSpec, **order: Any) -> list[int]:
        return list(self.submit_as(uuid.uuid4().hex, *specs, **order).job_ids)

    def submit_one(self, spec: ExperimentSpec, **order: Any) -> int:
        return self.submit(spec, **order)[0]

    def submit_as(self, token: str, *specs: ExperimentSpec, **order: Any) -> Submitted:
        return submit(self.database, self.broker, specs, SubmitOptions(**order), token)

    def submit_hanging(self, **order: Any) -> int:
        """Submit a job that blocks for ever when it reads its checkpoint, which is a pipe."""
        job_id = rows.submit_one(self.database, **order)
        pipe = self.settings.checkpoints / str(job_id) / "0-1-0"
        pipe.parent.mkdir(parents=True)
        os.mkfifo(pipe)
        rows.change(self.database, job_id, checkpoint=f"{job_id}/{pipe.name}", checkpoint_epoch=1)
        self.broker.publish([rows.message(self.database, job_id)])
        return job_id

    def job(self, job_id: int) -> Job:
        return rows.job(self.database, job_id)

    def attempts(self, job_id: int) -> list[Attempt]:
        return rows.attempts(self.database, job_id)

    def outcomes(self, job_id: int) -> list[str | None]:
        """Return how the attempts ended, in the order of their numbers."""
        return [attempt.outcome for attempt in self.attempts(job_id)]

    def wait_until(self, condition: Callable[[], Any], what: str) -> Any:
        """Return the condition's first true value; fail with the log if there is none."""

        def look() -> Any:
            time.sleep(LOOK_SECONDS)
            return condition()

        try:
            return wait_until(look, what, PATIENCE)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.logs()[-5000:]}") from None

    def wait(self, job_id: int, condition: Callable[[Job], Any], what: str) -> Job:
        """Return the job once the condition holds of it."""

        def look() -> Job | None:
            job = self.job(job_id)
            return job if condition(job) else None

        return self.wait_until(look, f"job {job_id} {what}")

    def wait_for_attempt(self, job_id: int, number: int) -> Job:
        return self.wait(job_id, lambda job: job.attempt == number, f"is tried {number} times")

    def wait_for_start(self, job_id: int) -> None:
        """Wait until the job trains."""
        self.wait(job_id, lambda _: self._has_begun(job_id), "trains")

    def wait_for_batches(self, job_id: int) -> None:
        """Wait until the job has trained for a while, whichever epoch it is in."""
        self.wait_for_start(job_id)
        trainer = self.trainer(job_id)
        enough = trainer.cpu_times().user + BATCHES_SECONDS
        self.wait_until(lambda: trainer.cpu_times().user > enough, f"job {job_id} trains on")

    def _has_begun(self, job_id: int) -> bool:
        attempts = self.attempts(job_id)
        return bool(attempts) and attempts[-1].provenance is not None

    def wait_for_epochs(self, job_id: int, after: int = 0) -> Job:
        """Wait until the job has done more epochs than that."""
        return self.wait(job_id, lambda job: job.epochs_done > after, "has done epochs")

    def wait_for_checkpoint(self, job_id: int) -> Job:
        return self.wait(job_id, lambda job: job.checkpoint, "has a checkpoint")

    def wait_for_end(self, *job_ids: int) -> list[str]:
        """Return the states in which the jobs ended."""
        return [
            self.wait(job_id, lambda job: JobState(job.state).is_final, "ends").state
            for job_id in job_ids
        ]

    def wait_for_log(self, text: str, times: int = 1) -> None:
        self.wait_until(lambda: self.logs().count(text) >= times, f"the log has {text!r}")

    @contextmanager
    def awaiting_log(self, text: str) -> Iterator[None]:
        """Wait at the end for the workers to say something once more than before."""
        seen = self.logs().count(text)
        yield
        self.wait_for_log(text, seen + 1)

    def stop(self) -> None:
        """Kill the workers, which takes no time; how they stop is for a test to see."""
        for worker in self.workers:
            with suppress(psutil.Error):
                supervisor = psutil.Process(worker.process.pid)
                for each in (supervisor, *supervisor.children(recursive=True)):
                    kill(each)
        super().stop()

    def ask_to_cancel_all(self) -> None:
        """Resume the queue, and cancel whatever is in it."""
        resume(self.database, self.broker)
        cancel(self.database, Job.state.not_in(FINAL_STATES))

    def ask_to_cancel(self, *job_ids: int) -> None:
        cancel(self.database, ids_condition(job_ids))

    def cancel(self, *job_ids: int) -> None:
        """Cancel jobs and wait until no process is on them."""
        self.ask_to_cancel(*job_ids)
        self.wait_for_end(*job_ids)

    def trainer(self, job_id: int) -> psutil.Process:
        """Return the process that the job's newest attempt trains in."""
        return psutil.Process(self.attempts(job_id)[-1].pid)

    def holder(self, job_id: int) -> WorkerHost:
        """Return the worker that has the job."""
        name = self.job(job_id).worker
        return next(each for each in self.workers if f"-{each.process.pid}@" in name)

    def record(self) -> dict[str, list[Any]]:
        """Return all rows but those that say which workers are alive."""
        tables = rows.everything(self.database)
        return {name: tables[name] for name in tables if name != "workers"}

    def figures(self, job_id: int) -> Figures:
        """Return the metrics of all epochs; those of the result are the last ones again."""
        epochs = rows.epochs(self.database, job_id)
        result = rows.result(self.database, job_id)
        assert [epoch.epoch for epoch in epochs] == [*range(1, len(epochs) + 1)]
        assert result
        assert figures_of(result) == figures_of(epochs[-1])
        return [figures_of(epoch) for epoch in epochs]


@contextmanager
def open_stage(
    *,
    url: str = "",
    lease_seconds: float = 2.0,
    workers: int = 1,
    server: type[DurableRedis] = DurableRedis,
) -> Iterator[Stage]:
    """Start everything, the second worker's clock being an hour off; stop it at the end.

    `url` is that of an empty database; by default it is SQLite.
    """
    with short_folder("dq-faults-") as folder:
        redis = server(folder)
        stage = Stage(folder, redis, None, url=url, lease_seconds=lease_seconds)
        redis.start()
        try:
            upgrade(stage.database)
            for number in range(workers):
                stage.add_worker(wrong_clock=number == 1)
            yield stage
        finally:
            stage.stop()


def processes(worker: WorkerHost) -> list[psutil.Process]:
    """Return the supervisor, its Celery process and that one's child, which are all there."""
    found = [psutil.Process(worker.process.pid), worker.celery(), worker.child()]
    assert all(found)
    return found


def is_alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
