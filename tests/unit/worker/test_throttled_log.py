import logging

import pytest

from worker.supervisor.supervisor import MaintenanceStep
from worker.throttled_log import ThrottledLog

logger = logging.getLogger("worker.test")


class Clock:
    """What the module takes for `time`; it moves when it is told to."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("worker.throttled_log.time", clock)
    return clock


@pytest.fixture(autouse=True)
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO)
    return caplog


def test_trouble_of_an_hour_takes_few_lines_and_one_when_it_is_over(
    clock: Clock, log: pytest.LogCaptureFixture
):
    log_of_it = ThrottledLog(logger, "the thing")

    for _ in range(15):
        log_of_it.warn("it fails")
        clock.now += 1
    lines_at_first = len(log.messages)
    for _ in range(3600 - 15):
        log_of_it.warn("it fails")
        clock.now += 1
    log_of_it.recover()
    log_of_it.recover()

    assert lines_at_first == 4
    assert len(log.messages) < 70
    assert log.messages[-1] == "the thing: works again after 3600 s"


def test_new_trouble_is_logged_at_once(clock: Clock, log: pytest.LogCaptureFixture):
    log_of_it = ThrottledLog(logger, "the thing")

    for _ in range(2):
        log_of_it.warn("it fails")
        log_of_it.recover()

    assert log.messages.count("it fails") == 2


def test_a_chore_goes_on_after_an_error_that_nobody_foresaw_and_says_so(
    log: pytest.LogCaptureFixture,
):
    outcomes = iter([ZeroDivisionError("nobody foresaw this"), KeyError("nor this"), None])

    def do() -> None:
        if error := next(outcomes):
            raise error

    chore = MaintenanceStep("heartbeat", do)
    for _ in range(3):
        chore.attempt()

    assert log.messages == [
        "maintenance failed: ZeroDivisionError('nobody foresaw this')",
        "heartbeat: works again after 0 s",
    ]
    assert log.text.count("Traceback") == 1
