import os
from pathlib import Path

from models.database import Database
from models.settings import Settings
from servers import RedisServer


def test_no_setting_of_the_developers_reaches_a_test(home: Path):
    settings = Settings.load()

    assert settings.home == home
    assert {name for name in os.environ if name.startswith("DQ_")} <= {"DQ_HOME", "DQ_DATA_DIR"}


def test_a_database_is_migrated(database: Database):
    database.check_schema()


def test_redis_is_empty(redis: RedisServer):
    assert redis.client().dbsize() == 0
