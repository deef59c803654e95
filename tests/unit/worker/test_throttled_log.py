import logging

import pytest

from unit.worker.clock import Clock
from worker.supervisor.supervisor import MaintenanceStep
from worker.throttled_log import ThrottledLog

logger = logging.getLogger("worker.test")


@pytest.fixture(autouse=True)
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO)
    return caplog


def test_trouble_of_an_hour_takes_few_lines_and_one_when_it_is_over(
    clock: Clock, log: pytest.LogCaptureFixture
):
    throttled = ThrottledLog(logger, "the thing")

    for _ in range(15):
        throttled.warn("it fails")
        clock.now += 1
    lines_at_first = len(log.messages)
    for _ in range(3600 - 15):
        throttled.warn("it fails")
        clock.now += 1
    throttled.recover()
    throttled.recover()

    assert lines_at_first == 4
    assert len(log.messages) < 70
    assert log.messages[-1] == "the thing: works again after 3600 s"


def test_new_trouble_is_logged_at_once(clock: Clock, log: pytest.LogCaptureFixture):
    throttled = ThrottledLog(logger, "the thing")

    for _ in range(2):
        throttled.warn("it fails")
        throttled.recover()

    assert log.messages.count("it fails") == 2


def test_a_step_is_repeated_after_an_unknown_error_and_logs_it(
    log: pytest.LogCaptureFixture,
):
    outcomes = iter([ZeroDivisionError("a bug"), KeyError("another"), None])

    def do() -> None:
        if error := next(outcomes):
            raise error

    step = MaintenanceStep("heartbeat", do)
    for _ in range(3):
        step.attempt()

    assert log.messages == [
        "maintenance failed: ZeroDivisionError('a bug')",
        "heartbeat: works again after 0 s",
    ]
    assert log.text.count("Traceback") == 1
