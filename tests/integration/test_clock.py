from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import select
from sqlalchemy.exc import StatementError

from integration import rows
from models.clock import from_now, now
from models.database import Database
from models.tables import Worker


def set_heartbeat(database: Database, name: str, time: object) -> None:
    rows.add_worker(database, name)
    with database.writing() as session:
        session.get_one(Worker, name).heartbeat_at = time


def test_the_clock_is_the_databases_in_utc(database: Database):
    with database.reading() as session:
        time = session.scalars(select(now())).one()

    assert time.tzinfo is UTC
    assert abs(datetime.now(UTC) - time) < timedelta(seconds=5)


@pytest.mark.parametrize("seconds", [30.0, 600, 0.25, -15.0, -86400])
def test_the_clock_counts_from_now_in_both_directions(database: Database, seconds: float):
    with database.reading() as session:
        time, shifted = session.execute(select(now(), from_now(seconds))).one()

    # SQLite counts in milliseconds, and PostgreSQL looks at the clock twice.
    assert shifted - time == pytest.approx(timedelta(seconds=seconds), abs=timedelta(seconds=0.2))


def test_the_clock_moves_within_a_transaction(database: Database):
    with database.writing() as session:
        first = session.scalars(select(now())).one()
        later = first
        while later == first:
            later = session.scalars(select(now())).one()

    assert later > first


def test_a_time_without_a_zone_is_refused(database: Database):
    with pytest.raises(StatementError, match="2026-11-24 12:00:00 has no time zone"):
        set_heartbeat(database, "w", datetime(2026, 11, 24, 12))


def test_a_time_of_another_zone_comes_back_as_utc(database: Database):
    paris = timezone(timedelta(hours=1))

    set_heartbeat(database, "w", datetime(2026, 11, 24, 12, 30, 0, 1, tzinfo=paris))

    found = rows.get(database, Worker, "w").heartbeat_at
    assert found == datetime(2026, 11, 24, 11, 30, 0, 1, tzinfo=UTC)
    assert found.tzinfo is UTC


def test_times_sort_in_sql_as_they_do_in_python(database: Database):
    start = datetime(2026, 11, 24, 9, 59, 59, tzinfo=UTC)
    steps = [0, 1, 999, 1_000, 10_000, 100_000, 999_999, 1_000_000, 60_000_000]
    times = [start + timedelta(microseconds=step) for step in steps]
    for index, time in enumerate(reversed(times)):
        set_heartbeat(database, str(index), time)

    with database.reading() as session:
        found = session.scalars(select(Worker.heartbeat_at).order_by(Worker.heartbeat_at)).all()

    assert found == times


def test_the_clocks_own_times_sort_among_those_of_python(database: Database):
    with database.reading() as session:
        time = session.scalars(select(now())).one()
    set_heartbeat(database, "before", time - timedelta(milliseconds=1))
    set_heartbeat(database, "by the clock", from_now(0))
    set_heartbeat(database, "after", time + timedelta(days=1))
    set_heartbeat(database, "far before", time - timedelta(seconds=1))

    with database.reading() as session:
        found = session.scalars(select(Worker.id).order_by(Worker.heartbeat_at)).all()

    assert found == ["far before", "before", "by the clock", "after"]


def test_a_lease_of_a_fraction_of_a_second_runs_out_after_it(database: Database):
    set_heartbeat(database, "w", from_now(0.2))
    expired = select(Worker.heartbeat_at < now())

    with database.reading() as session:
        answers = [session.scalars(expired).one()]
        while not answers[-1]:
            answers.append(session.scalars(expired).one())
        late = session.scalars(select(now())).one()

    assert answers[0] is False
    assert late - rows.get(database, Worker, "w").heartbeat_at < timedelta(seconds=1)
