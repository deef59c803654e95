import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from types import SimpleNamespace

import pytest

from unit.worker.clock import Clock
from worker.supervisor.devices import Device
from worker.supervisor.supervisor import WorkerProcess

DEVICE = Device("cpu0", "cpu", {})


@pytest.fixture
def doomed(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> WorkerProcess:
    """A process that dies as soon as it is started."""
    monkeypatch.setattr(
        "worker.supervisor.supervisor.sys", SimpleNamespace(executable="/bin/false")
    )
    return WorkerProcess(DEVICE)


def next_start(process: WorkerProcess, clock: Clock) -> float:
    """Restart a process once a second until it starts; return when that was."""
    before = process.started_at
    while process.started_at == before:
        process.restart_if_dead()
        clock.now += 1
    assert process.popen
    process.popen.wait(60)
    return process.started_at


def test_a_process_that_dies_young_is_started_again_later_each_time(
    doomed: WorkerProcess, clock: Clock
):
    starts = [next_start(doomed, clock) for _ in range(9)]

    assert [later - sooner for sooner, later in pairwise(starts)] == [1, 2, 4, 8, 16, 32, 60, 60]


def test_a_process_that_cannot_be_started_is_tried_again_later_each_time(
    monkeypatch: pytest.MonkeyPatch, clock: Clock, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(
        "worker.supervisor.supervisor.sys", SimpleNamespace(executable="/nowhere/python")
    )
    process, starts = WorkerProcess(DEVICE), []

    for _ in range(8):
        process.restart_if_dead()
        starts.append(process.started_at)
        clock.now += 1

    assert sorted({start - starts[0] for start in starts}) == [0, 1, 3, 7]
    assert caplog.messages[0].startswith("cpu0 cannot be started: [Errno 2]")


def test_a_process_that_dies_old_is_started_again_at_once(doomed: WorkerProcess, clock: Clock):
    for _ in range(5):
        next_start(doomed, clock)
    clock.now += 60
    died_at = clock.now
    waits = [next_start(doomed, clock) - died_at for _ in range(3)]

    assert waits == [0, 1, 3]


def test_a_process_that_ended_because_it_was_drained_is_not_started_again(
    doomed: WorkerProcess, clock: Clock
):
    started_at = next_start(doomed, clock)

    doomed.drain()
    clock.now += 120
    doomed.restart_if_dead()

    assert doomed.started_at == started_at


@contextmanager
def sleeper() -> Iterator["subprocess.Popen[bytes]"]:
    """A process that leads a session, as a Celery process does."""
    process = subprocess.Popen(["/bin/sleep", "600"], start_new_session=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_worker_process_kills_its_own_children_only():
    """A pid out of SQL may be another host's, or by now another process'."""
    with sleeper() as own, sleeper() as stranger:
        process = WorkerProcess(DEVICE, own)

        process.kill_child(stranger.pid)
        process.kill_child(own.pid)
        own.wait(60)

        assert stranger.poll() is None
