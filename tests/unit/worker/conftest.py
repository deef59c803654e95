import pytest

from unit.worker.clock import Clock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of supervisors and throttled logs."""
    clock = Clock()
    for module in ("worker.supervisor.supervisor", "worker.throttled_log"):
        monkeypatch.setattr(f"{module}.time", clock)
    return clock
