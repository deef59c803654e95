"""The two commands that start a worker and Redis, and must leave neither behind."""

import os
import signal

import pytest

from models.embedded_redis import EmbeddedRedis
from servers import wait_until

#: It ends by itself after a test that failed to cancel it.
ENDLESS = ["--epochs", "1000000", "--hidden", "64x2", "--timeout", "60s"]


def test_up_runs_jobs_and_ctrl_c_stops_worker_and_redis_and_loses_nothing(terminal):
    up = terminal.start("up.log", "up", "--workers", "1")
    terminal.run_jobs()
    (unfinished,) = terminal.submit(*ENDLESS)
    wait_until(lambda: terminal.show(unfinished)["epochs_done"] > 0, "the job runs")

    seconds = terminal.stop(up, signal.SIGINT)

    assert seconds < 15
    assert up.returncode == 0
    assert "dq is down." in terminal.read("up.log")
    wait_until(lambda: not terminal.processes(), "no process is left", seconds=15)
    left = terminal.show(unfinished)
    assert left["state"] == "queued"
    assert left["epochs_done"] > 0
    assert left["attempts"][0]["outcome"] == "released"


def test_a_home_has_one_up_and_other_commands_say_who_is_there_and_leave_redis_to_it(terminal):
    up = terminal.start("up.log", "up", "--workers", "1")
    wait_until(
        lambda: "Ready: 1 worker process on cpu, packs auto" in terminal.read("up.log"),
        "it is ready",
    )
    it = f"dq up (process {up.pid})"

    second = terminal.dq("up", "--workers", "1")
    worker = terminal.start("worker.log", "worker", "--device", "cpu", "--workers", "1")
    wait_until(lambda: "Ready: " in terminal.read("worker.log"), "it is ready, too")
    terminal.stop(worker, signal.SIGINT)
    demo = terminal.start("demo.log", "demo")
    wait_until(lambda: "its workers run the demo" in terminal.read("demo.log"), "it joins")
    jobs = wait_until(lambda: terminal.data("status")["jobs"]["running"], "they run")
    terminal.stop(demo, signal.SIGINT)
    supervisors = [line for line in terminal.processes() if "supervise" in line]
    redis_runs = EmbeddedRedis(terminal.home).is_running()
    terminal.stop(up, signal.SIGINT)

    assert second.returncode == 1
    assert f"{it} already runs workers in {terminal.home}" in second.stderr
    assert "Traceback" not in second.stderr
    assert f"{it} already runs workers here; these come on top" in terminal.read("worker.log")
    assert f"{it} already runs here" in terminal.read("demo.log")
    assert jobs
    assert len(supervisors) == 1
    assert redis_runs
    wait_until(lambda: not terminal.processes(), "no process is left", seconds=15)


def test_a_worker_starts_the_embedded_redis_again_if_that_dies(terminal):
    terminal.start("worker.log", "worker", "--device", "cpu", "--workers", "1")
    terminal.run_jobs()
    redis = EmbeddedRedis(terminal.home)

    os.kill(int((redis.folder / "redis.pid").read_text()), signal.SIGKILL)
    wait_until(lambda: not redis.is_running(), "it is dead")

    wait_until(redis.is_running, "it is back")
    terminal.run_jobs()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_demo_that_is_stopped_leaves_no_process_either(terminal, number):
    demo = terminal.start("demo.log", "demo")
    wait_until(lambda: terminal.home.exists() and terminal.data("workers"), "the worker runs")

    seconds = terminal.stop(demo, number)

    assert seconds < 15
    assert demo.returncode in (128 + number, -number)
    assert "Traceback" not in terminal.read("demo.log")
    wait_until(lambda: not terminal.processes(), "no process is left", seconds=15)


def test_a_worker_ends_with_its_command_even_if_that_is_killed_at_the_first_moment(terminal):
    up = terminal.start("up.log", "up", "--workers", "1")
    wait_until(lambda: "supervise" in str(terminal.processes()), "the worker starts")

    terminal.stop(up, signal.SIGKILL)

    # That long a worker that does not know takes to come up, and would then run for ever.
    wait_until(lambda: "supervise" not in str(terminal.processes()), "it ends", seconds=20)
