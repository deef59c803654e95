import json
import os
import subprocess
import sys

import pytest

from models.settings import Settings
from worker.queue.app import make_app

pytestmark = pytest.mark.slow

#: Does what a Celery process does before it starts its child, and tells which modules it took.
PARENT = """
import json
import sys
from models.settings import Settings
from worker.queue.app import make_app
import worker.__main__, worker.supervisor.supervisor, worker.supervisor.registry

app = make_app(Settings())
app.loader.import_default_modules()
app.Worker(hostname="w@h", quiet=True, loglevel="INFO")
assert "dq.run_job" in app.tasks
print(json.dumps(sorted(sys.modules)))
"""


@pytest.fixture
def environment(tmp_path):
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("DQ_")}
    return {**inherited, "DQ_HOME": str(tmp_path), "DQ_DATA_DIR": str(tmp_path / "data")}


@pytest.fixture
def worker(environment):
    """Return a function that runs the worker's program to its end."""

    def run(*words, **settings):
        return subprocess.run(
            [sys.executable, "-P", "-m", "worker", *words],
            env={**environment, **settings},
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_describe_prints_what_torch_sees_as_json(worker):
    done = worker("describe")

    found = json.loads(done.stdout)
    assert done.returncode == 0
    assert set(found) == {"dq", "python", "torch", "cuda", "cpu", "gpus"}
    assert isinstance(found["gpus"], list)


def test_verify_prints_the_state_of_each_file_as_json(worker):
    done = worker("verify", "mnist")

    states = {file["name"]: file["state"] for file in json.loads(done.stdout)}
    assert len(states) == 4
    assert set(states.values()) == {"missing"}


def test_fetch_attempted_in_vain_fails_without_a_word(worker):
    unreachable = {"HTTPS_PROXY": "http://127.0.0.1:1", "HTTP_PROXY": "http://127.0.0.1:1"}

    done = worker("fetch", "mnist", "--attempt", **unreachable)

    assert done.returncode == 1
    assert (done.stdout, done.stderr.strip()) == ("", "")


def test_an_error_that_a_user_can_mend_is_one_message_without_a_traceback(worker):
    done = worker("supervise", DQ_HOMEE="/elsewhere")

    assert done.returncode == 2
    assert done.stderr.startswith("Error: Unknown setting DQ_HOMEE.")
    assert "Traceback" not in done.stderr


def test_a_worker_without_tables_says_which_command_makes_them(worker, tmp_path):
    done = worker("supervise", DQ_DATABASE_URL=f"sqlite:///{tmp_path / 'x.sqlite'}")

    assert done.returncode == 3
    assert "Type: dq db upgrade" in done.stderr


def test_a_celery_process_tries_to_reach_redis_for_as_long_as_it_takes():
    """Celery's own limit would end it, and the job it runs, after a Redis outage of an hour."""
    assert make_app(Settings()).conf.broker_connection_max_retries is None


def test_the_celery_process_imports_no_torch_which_only_its_child_needs(environment):
    done = subprocess.run(
        [sys.executable, "-P", "-c", PARENT],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )

    modules = set(json.loads(done.stdout))
    assert "worker.queue.task" in modules
    assert modules.isdisjoint(
        {"torch", "numpy", "sklearn", "worker.execution.runner", "worker.execution.context"}
    )
