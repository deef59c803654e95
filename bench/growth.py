"""Times packs of 1 to 64 runs, and the claim of one among more and more queued jobs."""

import json
import subprocess
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from bench.section import Section, show, time_once
from bench.sweeps import KEEP, prepare, train_pack
from models.database import Database
from models.spec import ExperimentSpec
from service.jobs import SubmitOptions, submit
from service.operations.schema import upgrade
from tests.servers import short_folder
from worker.execution.recorder import Recorder


def measure(jobs: int) -> Section:
    """Time the packs, and the claims among 1, 10, 100 and so on, up to `jobs`."""
    columns = ["what grows", "number", "time", "each", "memory"]
    about = (
        "A pack: one epoch of MNIST, 3 x 64, batch 64, one thread; memory is what the process "
        "holds at its highest more than before. Jobs: submitted in one sweep to a SQLite file, "
        "then the claim of a pack of 16 among them."
    )
    return Section("Growth", about, columns, show(chain(_grow_pack(), _grow_queue(jobs))))


def _grow_pack() -> Iterator[list[str]]:
    for size in (1, 2, 4, 8, 16, 32, 64):
        code = f"from bench.growth import train; train({size})"
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        seconds, memory = json.loads(done.stdout)
        each = f"{seconds / size:.2f} s a run"
        yield ["runs in a pack", str(size), f"{seconds:.2f} s", each, f"{memory:.0f} MiB"]


def train(size: int) -> None:
    """Train a pack of that size; print the seconds and the MiB it took."""
    prepare()
    train_pack([(64, 64, 0, 0.1)])
    Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM: proc_pid_clear_refs(5)
    before = _peak_memory()
    seconds = time_once(lambda: train_pack([(64, 64, seed, 0.1) for seed in range(size)]))
    print(json.dumps([seconds, _peak_memory() - before]))


def _peak_memory() -> float:
    """Return the most MiB that were resident at once."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


class _SilentBroker:
    def publish(self, _: object) -> None:
        pass


def _grow_queue(jobs: int) -> Iterator[list[str]]:
    for number in (1, 10, 100, 1_000, 10_000):
        if number <= jobs:
            submitting, claiming = _time_queue(number)
            each = f"{submitting / number * 1000:.2f} ms a job"
            yield ["jobs submitted", f"{number:,}", f"{submitting:.2f} s", each, ""]
            yield ["a claim of 16 among", f"{number:,}", f"{claiming * 1000:.0f} ms", "", ""]


def _time_queue(number: int) -> tuple[float, float]:
    """Return the seconds of submitting a number of jobs, and of a claim among them."""
    spec = ExperimentSpec(hidden=(64,) * 3, keep=KEEP, batch_size=64)
    specs = [spec.model_copy(update={"seed": seed}) for seed in range(number)]
    broker, options = _SilentBroker(), SubmitOptions()
    with short_folder("dq-bench-") as folder:
        database = Database(f"sqlite:///{folder / 'dq.sqlite'}")
        upgrade(database)
        submitting = time_once(lambda: submit(database, broker, specs, options, "t"))  # type: ignore[arg-type]
        recorder, fields = Recorder(database, "bench", 30), spec.model_dump(mode="json")
        claiming = time_once(lambda: recorder.claim_pack(1, fields, lambda _: 16))
        database.engine.dispose()
    return submitting, claiming
