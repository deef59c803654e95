import itertools
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from integration import rows
from integration.process import StopBefore, make_process, run
from integration.rows import SPEC
from models import lifecycle
from models.database import Database
from models.spec import ExperimentSpec
from models.state import Outcome
from models.tables import Job
from servers import Outage, wait_until
from service import jobs
from service.analysis.comparison import compare
from service.queries.jobs import list_compared_jobs
from service.queries.selectors import ids_condition
from worker.execution import runner
from worker.execution.checkpoints import Checkpoints
from worker.execution.context import WorkerContext
from worker.execution.recorder import Recorder
from worker.training import checkpoint

pytestmark = pytest.mark.usefixtures("one_thread")
#: What is about files and figures; the rows are looked at on both databases elsewhere.
on_sqlite = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
BATCHES = SPEC.batches
#: It never ends by itself.
ENDLESS = rows.spec(epochs=1_000_000)
#: At a tenth of this rate its loss is huge, but still a number.
DIVERGING = rows.spec(lr=1e12)
#: One epoch takes many seconds: 1,197 batches.
LONG_EPOCH = rows.spec(hidden=(3072, 3072), batch_size=1)


class Gate(threading.Event):
    """A worker's stop flag that is never set, but keeps the training waiting before a batch."""

    def __init__(self, batch: int) -> None:
        super().__init__()
        self._looks = itertools.count()
        self._batch = batch
        self.reached, self.opened = threading.Event(), threading.Event()

    def is_set(self) -> bool:
        if next(self._looks) == self._batch:
            self.reached.set()
            self.opened.wait(60)
        return False


@pytest.fixture
def process(recorder: Recorder, tmp_path: Path) -> WorkerContext:
    return make_process(recorder, tmp_path, pack="off")


@pytest.fixture
def eager_checkpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have each epoch end with a checkpoint, however short it was."""
    monkeypatch.setattr("worker.execution.checkpoints._TRAINING_PER_SAVING", 0)


def run_until(batch: int, process: WorkerContext, job_id: int) -> None:
    """Run a job in a worker that is told to stop right before a batch of this attempt."""
    run(replace(process, stopping=StopBefore(batch)), job_id)


@contextmanager
def running(process: WorkerContext, job_id: int) -> Iterator[threading.Thread]:
    """Run a job in a thread that must have ended at the end of the `with`."""
    thread = threading.Thread(target=run, args=[process, job_id], daemon=True)
    thread.start()
    yield thread
    thread.join(60)
    assert not thread.is_alive()


def undisturbed(process: WorkerContext, spec: ExperimentSpec = SPEC) -> list[tuple[float, ...]]:
    """Return the figures of a job of the same spec that nothing happened to."""
    database = process.recorder.database
    (job_id,) = rows.submit(database, spec)
    run(process, job_id)
    return rows.figures(database, job_id)


def checkpoint_file(process: WorkerContext, job_id: int) -> Path:
    name = rows.job(process.recorder.database, job_id).checkpoint
    assert name
    return process.checkpoint_dir / name


def files(process: WorkerContext) -> list[str]:
    folder = process.checkpoint_dir
    found = (path for path in folder.rglob("*") if path.is_file())
    return sorted(str(path.relative_to(folder)) for path in found)


def test_a_job_is_trained_and_its_result_recorded(database: Database, process: WorkerContext):
    spec = rows.spec(epochs=20, batch_size=20, keep=(0.9,))
    (job_id,) = rows.submit(database, spec)

    run(process, job_id)

    job, result = rows.job(database, job_id), rows.result(database, job_id)
    (attempt,) = rows.attempts(database, job_id)
    epochs = rows.epochs(database, job_id)
    assert (job.state, job.reason, job.epochs_done) == ("succeeded", None, 20)
    assert [row.epoch for row in epochs] == [*range(1, 21)]
    assert result
    assert result.valid_accuracy == epochs[-1].valid_accuracy > 0.9
    assert result.seconds == pytest.approx(sum(row.seconds for row in epochs))
    assert (attempt.outcome, attempt.resumed_epoch) == (Outcome.SUCCEEDED, 0)
    assert attempt.provenance["torch"] == torch.__version__
    assert len(attempt.provenance["dataset_hash"]) == 64
    assert rows.log(database, job_id) == ["claimed by cpu0-1@here", "succeeded"]


@on_sqlite
def test_the_same_spec_gives_the_same_figures_whatever_ran_before(
    database: Database, process: WorkerContext
):
    spec, other = rows.spec(keep=(0.8,)), rows.spec(keep=(0.8,), seed=1)

    first, between, second = (undisturbed(process, each) for each in (spec, other, spec))

    assert first == second
    assert first != between


def test_a_process_runs_what_is_queued_until_nothing_is(database: Database, process: WorkerContext):
    job_ids = rows.submit(database, *(rows.spec(seed=seed, hidden=(15,)) for seed in range(3)))
    held = rows.submit_one(database)
    jobs.hold(database, ids_condition([held]))

    runner.run_all(process)
    before = rows.everything(database)
    runner.run_all(process)

    assert rows.states(database, [*job_ids, held]) == ["succeeded"] * 3 + ["queued"]
    assert rows.everything(database) == before, "a message that comes late changes nothing"


def test_a_process_that_is_told_to_stop_runs_no_other_job(
    database: Database, process: WorkerContext
):
    job_ids = rows.submit(database, *(rows.spec(seed=seed, hidden=(15,)) for seed in range(2)))
    stopping = replace(process, stopping=StopBefore(3))

    runner.run_all(stopping)

    assert [len(rows.attempts(database, job_id)) for job_id in job_ids] == [1, 0]
    assert rows.states(database, job_ids) == ["queued"] * 2


# Divergence


def test_a_job_that_diverges_fails_and_says_at_which_epoch(
    database: Database, process: WorkerContext
):
    (job_id,) = rows.submit(database, DIVERGING)

    run(process, job_id)

    job, (attempt,) = rows.job(database, job_id), rows.attempts(database, job_id)
    done = len(rows.epochs(database, job_id))
    assert (job.state, job.reason) == ("failed", f"diverged at epoch {done + 1}")
    assert attempt.outcome == Outcome.FAILED
    assert rows.result(database, job_id) is None


def test_a_job_that_diverged_is_in_no_mean_of_a_comparison(
    database: Database, process: WorkerContext
):
    good = [rows.spec(seed=seed) for seed in (0, 1)]
    bad = [DIVERGING.model_copy(update={"seed": seed}) for seed in (0, 1)]
    fast = [rows.spec(lr=0.2, seed=seed) for seed in (0, 1)]
    job_ids = rows.submit(database, *good, *bad, *fast)
    for job_id in job_ids:
        run(process, job_id)

    comparison = compare(list_compared_jobs(database, ids_condition(job_ids)))

    assert comparison.failed == tuple(job_ids[2:4])
    assert [row.jobs for row in comparison.rows] == [tuple(job_ids[:2]), (), tuple(job_ids[4:])]
    assert [row.n for row in comparison.rows] == [2, 0, 2]
    assert comparison.rows[1].mean is None


# Being told to stop


@pytest.mark.parametrize("batch", [0, 5, BATCHES, BATCHES + 5, 3 * BATCHES - 1])
def test_a_job_given_back_at_any_batch_goes_on_to_the_same_figures(
    database: Database, process: WorkerContext, batch: int
):
    expected = undisturbed(process)
    job_id = rows.submit_one(database)

    run_until(batch, process, job_id)
    given_back = rows.job(database, job_id)
    saved = files(process)
    run(process, job_id)

    first, second = rows.attempts(database, job_id)
    assert (given_back.state, given_back.crashes) == ("queued", 0)
    assert given_back.epochs_done == batch // BATCHES
    assert saved == ([f"{job_id}/1-{batch // BATCHES}-{batch % BATCHES}"] if batch else [])
    assert not [line for line in rows.log(database, job_id) if "scratch" in line]
    assert (first.outcome, second.outcome) == (Outcome.RELEASED, Outcome.SUCCEEDED)
    assert second.resumed_epoch == batch // BATCHES
    assert rows.figures(database, job_id) == expected


@on_sqlite
def test_a_job_with_dropout_given_back_again_and_again_comes_to_the_same_figures(
    database: Database, process: WorkerContext
):
    spec = rows.spec(hidden=(16, 16), keep=(0.8, 0.5))
    expected = undisturbed(process, spec)
    (job_id,) = rows.submit(database, spec)

    while rows.job(database, job_id).state == "queued":
        run_until(5, process, job_id)

    assert len(rows.attempts(database, job_id)) == 8  # 36 batches, 5 in each attempt
    assert rows.figures(database, job_id) == expected


def test_a_job_that_goes_on_within_its_first_epoch_is_not_said_to_start_from_scratch(
    database: Database, process: WorkerContext
):
    job_id = rows.submit_one(database)

    run_until(5, process, job_id)
    run(process, job_id)

    assert not [line for line in rows.log(database, job_id) if "scratch" in line]


# Checkpoints


@on_sqlite
def test_a_checkpoint_goes_once_its_job_succeeded(
    *, database: Database, process: WorkerContext, eager_checkpoints: None
):
    job_id = rows.submit_one(database)
    run_until(BATCHES + 5, process, job_id)
    assert files(process)

    run(process, job_id)

    assert files(process) == []
    assert rows.job(database, job_id).checkpoint is None
    assert [*process.checkpoint_dir.iterdir()] == []


@on_sqlite
def test_the_trained_weights_are_kept_if_they_were_asked_for(
    database: Database, process: WorkerContext
):
    job_id = rows.submit_one(database, keep_checkpoint=True)

    run(process, job_id)

    kept = checkpoint.load(checkpoint_file(process, job_id), SPEC)
    assert (kept.epoch, kept.batch) == (3, 0)
    assert files(process) == [f"{job_id}/1-3-0"]


@on_sqlite
def test_of_a_job_that_was_given_back_only_the_trained_weights_are_kept(
    database: Database, process: WorkerContext
):
    job_id = rows.submit_one(database, keep_checkpoint=True)
    run_until(BATCHES + 5, process, job_id)

    run(process, job_id)

    assert files(process) == [f"{job_id}/2-3-0"]


@on_sqlite
def test_a_job_that_failed_keeps_its_checkpoint_for_its_retry(
    *, database: Database, process: WorkerContext, eager_checkpoints: None
):
    expected = undisturbed(process)
    job_id = rows.submit_one(database)
    run_until(2 * BATCHES, process, job_id)
    recorder = process.recorder
    rows.fail(recorder, rows.claim(recorder, job_id), "no more")

    jobs.retry(database, rows.FakeBroker(), ids_condition([job_id]), from_scratch=False)
    run(process, job_id)

    assert rows.attempts(database, job_id)[-1].resumed_epoch == 2
    assert rows.figures(database, job_id) == expected


@on_sqlite
@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../1-1-0", "1/../../1-1-0", "1/1-1-0\n", "1/x-1-0"]
)
def test_a_checkpoint_that_sql_puts_somewhere_else_is_not_opened(
    *, database: Database, process: WorkerContext, caplog: pytest.LogCaptureFixture, name: str
):
    job_id = rows.submit_one(database)
    rows.change(database, job_id, checkpoint=name, checkpoint_epoch=1)

    run(process, job_id)

    assert rows.states(database, [job_id]) == ["succeeded"]
    assert f"{name!r} is no name of a checkpoint" in caplog.text


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def delete(path: Path) -> None:
    path.unlink()


@on_sqlite
@pytest.mark.parametrize("damage", [truncate, flip_a_bit, empty, delete])
def test_a_job_whose_checkpoint_is_damaged_starts_from_scratch_and_comes_to_the_same_figures(
    database: Database, process: WorkerContext, damage: Callable[[Path], None]
):
    expected = undisturbed(process)
    job_id = rows.submit_one(database)
    run_until(2 * BATCHES + 5, process, job_id)
    damage(checkpoint_file(process, job_id))

    run(process, job_id)

    assert rows.job(database, job_id).state == "succeeded"
    assert rows.attempts(database, job_id)[-1].resumed_epoch == 0
    assert "resumed from scratch: no usable checkpoint" in rows.log(database, job_id)
    assert rows.figures(database, job_id) == expected
    assert files(process) == []


@on_sqlite
def test_a_job_goes_on_without_checkpoints_if_their_folder_cannot_be_written(
    *,
    database: Database,
    process: WorkerContext,
    eager_checkpoints: None,
    caplog: pytest.LogCaptureFixture,
):
    process.checkpoint_dir.write_text("a file is in the way")
    job_id = rows.submit_one(database)

    run(process, job_id)

    assert rows.job(database, job_id).state == "succeeded"
    assert "goes on without a checkpoint" in caplog.text


@on_sqlite
def test_a_job_is_given_back_also_if_its_checkpoint_cannot_be_written(
    database: Database, process: WorkerContext
):
    expected = undisturbed(process)
    process.checkpoint_dir.write_text("a file is in the way")
    job_id = rows.submit_one(database)

    run_until(BATCHES + 5, process, job_id)
    given_back = rows.job(database, job_id)
    run(process, job_id)

    assert (given_back.state, given_back.checkpoint) == ("queued", None)
    assert rows.attempts(database, job_id)[-1].resumed_epoch == 0
    assert rows.figures(database, job_id) == expected


@on_sqlite
def test_the_files_of_other_jobs_are_left_alone(
    *, database: Database, process: WorkerContext, eager_checkpoints: None
):
    first, second = rows.submit(database, SPEC, SPEC)
    run_until(5, process, first)

    run(process, second)

    assert files(process) == [f"{first}/1-0-5"]


@on_sqlite
def test_a_training_keeps_few_checkpoints_however_many_it_writes(
    *, database: Database, process: WorkerContext, eager_checkpoints: None
):
    """The one SQL points to, the one that is being written to SQL, and the newest."""
    (job_id,) = rows.submit(database, rows.spec(epochs=20))

    run_until(19 * BATCHES + 5, process, job_id)

    assert f"{job_id}/1-19-5" in files(process)
    assert len(files(process)) <= 3


@on_sqlite
def test_an_attempt_that_lost_its_job_removes_no_checkpoint_of_the_next(
    database: Database, process: WorkerContext
):
    job_id = rows.submit_one(database)
    claim = rows.claim(process.recorder, job_id)
    folder = process.checkpoint_dir / str(job_id)
    folder.mkdir(parents=True)
    for name in ("1-1-0", "2-1-0"):
        (folder / name).touch()

    Checkpoints(process.checkpoint_dir, claim).prune()

    assert files(process) == [f"{job_id}/2-1-0"]


# Data


@on_sqlite
def test_a_damaged_data_file_fails_the_job_with_what_to_type(
    database: Database, process: WorkerContext
):
    folder = process.data_dir / "mnist"
    folder.mkdir(parents=True)
    (folder / "train-images-idx3-ubyte").write_bytes(b"no images")
    (job_id,) = rows.submit(database, ExperimentSpec(hidden=(16,), epochs=1))

    run(process, job_id)

    job = rows.job(database, job_id)
    assert job.state == "failed"
    assert job.reason.startswith(f"{folder}/train-images-idx3-ubyte is damaged: its sha256 is")
    assert "Type `dq data fetch mnist`" in job.reason


# Being stopped while it runs


def test_a_cancellation_is_seen_within_an_epoch(database: Database, process: WorkerContext):
    (job_id,) = rows.submit(database, LONG_EPOCH)

    with running(process, job_id):
        wait_until(lambda: rows.job(database, job_id).state == "running", "the job runs")
        changes = jobs.cancel(database, ids_condition([job_id]))

    job, (attempt,) = rows.job(database, job_id), rows.attempts(database, job_id)
    assert [change.change for change in changes] == ["stopping"]
    assert (job.state, job.reason) == ("cancelled", "cancelled while running")
    assert attempt.outcome == Outcome.CANCELLED
    assert rows.epochs(database, job_id) == []


def test_a_cancelled_job_keeps_the_epochs_it_measured(database: Database, process: WorkerContext):
    (job_id,) = rows.submit(database, ENDLESS)

    with running(process, job_id):
        wait_until(lambda: rows.epochs(database, job_id), "an epoch is recorded")
        jobs.cancel(database, ids_condition([job_id]))

    job, epochs = rows.job(database, job_id), rows.epochs(database, job_id)
    assert job.state == "cancelled"
    assert [row.epoch for row in epochs] == [*range(1, job.epochs_done + 1)]
    assert rows.result(database, job_id) is None


def test_an_attempt_that_takes_longer_than_it_may_fails(database: Database, process: WorkerContext):
    (job_id,) = rows.submit(database, ENDLESS, timeout_seconds=0.3)

    run(process, job_id)

    job = rows.job(database, job_id)
    assert (job.state, job.reason) == ("failed", "not done after the 0.3 s it may take")


def test_an_attempt_that_lost_its_job_stops_and_writes_nothing_more(
    *,
    database: Database,
    process: WorkerContext,
    other_recorder: Recorder,
    caplog: pytest.LogCaptureFixture,
):
    (job_id,) = rows.submit(database, ENDLESS)

    with running(process, job_id):
        wait_until(lambda: rows.epochs(database, job_id), "an epoch is recorded")
        with database.writing() as session:
            job = session.get_one(Job, job_id, with_for_update=True)
            lifecycle.lose(session, job, "it fell silent")
        second = rows.claim(other_recorder, job_id)
        before = rows.everything(database)

    assert second.attempt == 2
    assert rows.everything(database) == before
    assert f"job {job_id} attempt 1: fenced off" in caplog.text


def test_an_outage_of_the_database_neither_stops_a_training_nor_costs_its_result(
    *,
    database: Database,
    process: WorkerContext,
    outage: Outage,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    monkeypatch.setattr("worker.execution.recorder._RETRY_SECONDS", 0.05)
    expected = undisturbed(process)
    job_id = rows.submit_one(database)
    gate = Gate(BATCHES + 5)

    with running(replace(process, stopping=gate), job_id):
        assert gate.reached.wait(60)
        with outage(database):
            wait_until(lambda: "training goes on" in caplog.text, "a beat is missed")
            gate.opened.set()
            wait_until(lambda: "trying again" in caplog.text, "the result is not taken")

    (attempt,) = rows.attempts(database, job_id)
    assert rows.job(database, job_id).state == "succeeded"
    assert attempt.outcome == Outcome.SUCCEEDED
    assert rows.figures(database, job_id) == expected


# A stall

STALL = """
import sys
from pathlib import Path
from threading import Event

import torch

from models.database import Database
from worker.execution import runner
from worker.execution.context import WorkerContext
from worker.execution.recorder import Recorder


class StuckProcess(WorkerContext):
    def load(self, dataset):
        Event().wait()


url, folder = sys.argv[1:]
recorder = Recorder(Database(url), "stuck@here", 30)
process = StuckProcess(recorder, Path(folder), Path(folder), torch.device("cpu"), "off", Event())
runner.run_all(process)
"""


@on_sqlite
def test_a_training_that_stands_still_fails_and_takes_its_process_with_it(
    database: Database, tmp_path: Path
):
    job_id = rows.submit_one(database, stall_seconds=1)
    url = database.url.render_as_string(hide_password=False)
    command = [sys.executable, "-c", STALL, url, tmp_path]

    ended = subprocess.run(command, timeout=60, check=False)

    job, (attempt,) = rows.job(database, job_id), rows.attempts(database, job_id)
    assert ended.returncode == -signal.SIGKILL
    assert (job.state, job.reason) == ("failed", "no progress for 1 s")
    assert (attempt.outcome, attempt.worker) == (Outcome.FAILED, "stuck@here")
