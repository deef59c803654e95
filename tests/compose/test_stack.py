"""The whole stack in containers, used from outside, struck, and held to a run without it."""

import base64
import re
import subprocess
import time
import urllib.error
import urllib.request

import pytest

from acceptance.conftest import open_terminal
from compose.stack import (
    BUILD_SECONDS,
    ROOT,
    ComposedStack,
    compose_command,
    open_stack,
    why_no_engine,
)
from servers import wait_until

pytestmark = [
    pytest.mark.compose,
    pytest.mark.skipif(bool(why := why_no_engine()), reason=f"no stack here: {why}"),
    pytest.mark.timeout(3600),
]

SERVICES = ["redis", "db", "worker-cpu", "web"]
#: Two configurations, five seeds: each run takes seconds, and writes checkpoints.
SWEEP = [
    *("submit", "--dataset", "digits", "--hidden", "128x2", "--batch-size", "20", "--epochs", "60"),
    *("--dropout", "none", "--dropout", "0.9,0.8", "--seeds", "5"),
]
TABLE = ["results", "@last", "--compare", "--format", "md"]


@pytest.fixture(scope="module")
def stack():
    with open_stack("worker-cpu", "web") as opened:
        yield opened


@pytest.fixture(scope="module")
def calm_table():
    """The table of the same sweep on the embedded database and Redis, with nothing struck."""
    with open_terminal() as terminal:
        terminal.start("up.log", "up", "--workers", "2")
        done = terminal.dq(*SWEEP, "--wait")
        assert done.returncode == 0, done.stderr
        return terminal.dq(*TABLE).stdout


def running(stack: ComposedStack) -> list[dict]:
    return [job for job in stack.data("results", "@last") if job["state"] == "running"]


def test_a_sweep_from_outside_ends_with_the_right_table_although_everything_is_struck(
    stack, calm_table, capsys
):
    for service in SERVICES:
        stack.wait_until_healthy(service)
    submitted = stack.dq(*SWEEP)
    assert submitted.returncode == 0, submitted.stderr
    wait_until(lambda: running(stack), "the worker trains", 60)
    time.sleep(2)  # let it get as far as a checkpoint

    stack.crash("worker-cpu")
    wait_until(lambda: running(stack), "the worker trains again", 120)
    stack.compose("restart", "--timeout", "30", "redis")
    wait_until(lambda: stack.state("redis") == "healthy", "redis is back", 60)
    wait_until(lambda: running(stack), "the worker trains after redis was restarted", 120)
    stack.compose("restart", "--timeout", "60", "db")
    waited = stack.dq("wait", "@last", "--timeout", "10m")

    jobs = stack.data("results", "@last")
    table = stack.dq(*TABLE).stdout
    attempts = [stack.data("show", str(job["job_id"]))["attempts"] for job in jobs]
    outcomes = [attempt["outcome"] for each in attempts for attempt in each]
    packs = re.findall(r"with \d+ others? of its shape", stack.dq("logs", "@last").stdout)
    with capsys.disabled():
        print(f"\n{submitted.stderr}{waited.stderr}attempts: {sorted(outcomes)}")
        print(f"claimed {len(packs)} times in a pack\n{table}")
    assert {job["state"] for job in jobs} == {"succeeded"}
    assert outcomes.count("lost") >= 1
    assert outcomes.count("succeeded") == len(jobs) == 10
    assert packs
    assert table == calm_table


def test_no_password_shows_in_logs_configuration_command_lines_or_doctor(stack):
    doctor = stack.dq("doctor", "--json")
    told = stack.everything_told() + doctor.stdout + doctor.stderr

    assert "worker-cpu" in told
    for name in ("db_password", "redis_password", "web_token"):
        assert (stack.secrets / name).read_text() not in told


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_is_not_root_has_no_capability_and_cannot_change_its_own_files(stack, service):
    found = stack.inspect(service)
    status = stack.compose("exec", "-T", service, "cat", "/proc/1/status")
    touched = subprocess.run(
        ["docker", "exec", found["Id"], "touch", "/usr/new"], capture_output=True, check=False
    )

    facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert "0" not in facts["Uid"].split()
    assert {int(facts[f"Cap{kind}"], 16) for kind in ("Eff", "Prm", "Bnd")} == {0}
    assert facts["NoNewPrivs"] == "1"
    assert touched.returncode != 0


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_comes_back_after_a_crash(stack, service):
    stack.crash(service)

    stack.wait_until_healthy(service)


def ask(url: str, **headers: str) -> str:
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.read().decode()


def test_the_page_and_its_metrics_are_there_for_this_host_and_acting_takes_the_token(stack):
    stack.wait_until_healthy("web")

    page, metrics = ask(stack.web), ask(f"{stack.web}/metrics")
    with pytest.raises(urllib.error.HTTPError) as refusal:
        urllib.request.urlopen(f"{stack.web}/api/v1/queue/pause", data=b"{}", timeout=30)

    bound = stack.inspect("web")["NetworkSettings"]["Ports"]["8000/tcp"]
    assert {each["HostIp"] for each in bound} == {"127.0.0.1"}
    assert "<html" in page
    assert 'dq_jobs{state="succeeded"}' in metrics
    assert 'dq_attempts_total{outcome="lost"}' in metrics
    assert refusal.value.code in (401, 403)


def status(url: str, **headers: str) -> int | None:
    """Return the code of an answer; None if there is none yet."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:
            code: int = answer.status
    except urllib.error.HTTPError as refusal:
        return refusal.code
    except OSError:
        return None
    return code


def test_flower_is_there_if_asked_for_and_takes_the_token(stack):
    token = (stack.secrets / "web_token").read_text()
    url = f"http://127.0.0.1:{stack.variables['FLOWER_PORT']}/workers"
    user = base64.b64encode(f"dq:{token}".encode()).decode()

    stack.compose("up", "--detach", "flower", seconds=BUILD_SECONDS)
    without = wait_until(lambda: status(url), "flower answers", 90)

    assert without == 401
    assert status(url, Authorization=f"Basic {user}") == 200
    assert token not in stack.everything_told()


def test_a_backup_restores_what_was_lost(stack):
    before = stack.dq(*TABLE).stdout
    database = ["exec", "-T", "db"]
    where = ["--username", "dq", "--dbname", "dq"]
    stack.compose("stop", "worker-cpu")

    dump = ["pg_dump", *where, "--format", "custom", "--file", "/tmp/dq.dump"]
    stack.compose(*database, *dump)
    stack.compose(*database, "psql", *where, "--command", "DROP TABLE results CASCADE")
    restore = ["pg_restore", *where, "--clean", "--if-exists", "--single-transaction"]
    stack.compose(*database, *restore, "/tmp/dq.dump")
    stack.compose("start", "worker-cpu")

    assert stack.dq(*TABLE).stdout == before
    stack.wait_until_healthy("worker-cpu")


def test_redis_and_the_database_are_open_to_this_host_alone_and_only_if_asked_for(stack):
    for service, port in (("redis", "6379/tcp"), ("db", "5432/tcp")):
        bound = stack.inspect(service)["NetworkSettings"]["Ports"][port]
        assert {each["HostIp"] for each in bound} == {"127.0.0.1"}

    without = subprocess.run(
        [*compose_command(), "config"],
        cwd=ROOT,
        env=stack.variables,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "127.0.0.1" in without.stdout  # the page's
    assert "6379" not in without.stdout.replace(":6379/0", "")


@pytest.mark.parametrize("url", ["DQ_DATABASE_URL", "DQ_BROKER_URL"])
def test_without_the_password_nobody_is_let_in(stack, url):
    password = stack.settings[url].split("@")[0].rpartition(":")[2]
    wrong = {url: stack.settings[url].replace(password, "wrong-password")}

    done = stack.dq("doctor", "--ready", **wrong)

    assert done.returncode == 1
    assert "fail" in done.stdout
    assert "wrong-password" not in done.stdout + done.stderr


def test_a_worker_that_is_told_to_stop_gives_its_jobs_back_in_time(stack):
    jobs = stack.dq(*SWEEP[:-2], "--epochs", "5000", "--force")
    assert jobs.returncode == 0, jobs.stderr
    wait_until(lambda: running(stack), "the worker trains", 120)

    began = time.monotonic()
    stack.compose("stop", "worker-cpu")
    seconds = time.monotonic() - began

    assert seconds < 30
    assert not running(stack)
    assert stack.dq("cancel", "@last").returncode == 0
    assert stack.inspect("worker-cpu")["State"]["ExitCode"] == 0
