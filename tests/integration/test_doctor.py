import pytest

from servers import RedisServer
from service import doctor


def test_a_redis_on_a_unix_socket_is_found(redis: RedisServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DQ_BROKER_URL", redis.url)

    checks = {check.name: check for check in doctor.examine_readiness()}

    assert redis.url.startswith("redis+socket://")
    assert checks["redis"].state == "note"  # it keeps nothing on disk
    assert checks["redis"].found.startswith("Redis ")
