"""How much a command imports and how long that takes: a person waits for it each time."""

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from service.cli import COMMANDS

pytestmark = pytest.mark.slow

DQ = str(Path(sys.executable).with_name("dq"))
SUBMIT = ["submit", "--dataset", "digits", "--hidden", "8", "--batch-size", "100"]
#: Other work on the host makes a run slow, and nothing makes it fast: the best of this many counts.
RUNS = 10
HELP_SECONDS = 0.15
COMMAND_SECONDS = 0.7
#: On a machine where its libraries alone take longer to import: this many times as long.
COMMAND_TIMES = 1.6
LIBRARIES = "import celery, kombu.transport.redis, pydantic_settings, sqlalchemy.orm"
#: What takes long to import, or is an extra, and is imported where it is used.
SLOW = {
    "alembic", "celery", "fastapi", "kombu", "matplotlib", "mlflow", "numpy", "optuna", "plotly",
    "pooch", "prometheus_client", "pyarrow", "scipy", "sklearn", "tensorboard", "torch", "worker",
}  # fmt: skip


def imports(words: list[str]) -> set[str]:
    """Run `dq`; return the top-level packages that it imported."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", DQ, *words],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    modules = {line.rpartition("|")[2].strip() for line in lines}
    assert "service.cli" in modules
    return {module.partition(".")[0] for module in modules}


def best_seconds(command: list[str], enough: float) -> float:
    """Return the time of the fastest of some runs, or of the first that was fast enough."""
    best = float("inf")
    for _ in range(RUNS):
        best = min(best, seconds(command))
        if best < enough:
            break
    return best


def seconds(command: list[str]) -> float:
    """Return the wall time of a command, less the time it stood in the queue for a core."""
    started_at = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    wall = time.perf_counter() - started_at
    queued = queued_seconds(process.pid)
    assert process.wait() == 0
    return wall - queued


def queued_seconds(pid: int) -> float:
    """Return how long other work kept a process from running, where the kernel tells it."""
    path = Path(f"/proc/{pid}/schedstat")
    return int(path.read_text().split()[1]) / 1e9 if path.exists() else 0.0


def test_help_imports_neither_celery_nor_sqlalchemy_nor_pydantic_nor_torch():
    imported = imports(["--help"])

    assert imported.isdisjoint({"celery", "kombu", "sqlalchemy", "pydantic", "torch", "rich"})


def test_no_command_imports_at_its_top_what_is_slow():
    modules = ", ".join(f"service.cli.{name}" for name in COMMANDS)
    code = f"import sys, {modules}; print(*sys.modules)"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    imported = {module.partition(".")[0] for module in done.stdout.split()}
    assert "sqlalchemy" in imported
    assert imported.isdisjoint(SLOW)


@pytest.mark.parametrize("command", ["results", "show", "status", "workers"])
def test_a_command_that_only_reads_imports_no_redis(command):
    assert "redis" not in imports([command, "--help"])


@pytest.mark.parametrize("words", [SUBMIT, ["results"]], ids=["submit", "results"])
def test_the_client_never_imports_what_only_the_worker_needs(words):
    imported = imports(words)

    assert "models" in imported
    assert imported.isdisjoint({"torch", "numpy", "sklearn", "pooch", "worker"})


def test_a_dry_run_imports_no_celery():
    imported = imports([*SUBMIT, "--dry-run"])

    assert imported.isdisjoint({"celery", "kombu"})


def test_help_is_there_before_a_person_notices():
    assert best_seconds([DQ, "--help"], HELP_SECONDS) < HELP_SECONDS


@pytest.fixture(scope="module")
def enough() -> float:
    """Return how long a command may take on this machine."""
    importing = [seconds([sys.executable, "-c", LIBRARIES]) for _ in range(RUNS // 2)]
    return max(COMMAND_SECONDS, COMMAND_TIMES * statistics.median(importing))


@pytest.mark.parametrize(
    "words", [["status"], ["results"], ["doctor", "--ready"], SUBMIT], ids=" ".join
)
def test_a_command_is_done_soon(words, enough):
    subprocess.run([DQ, *SUBMIT], capture_output=True, check=True)

    assert best_seconds([DQ, *words], enough) < enough
