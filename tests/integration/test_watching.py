import threading

import pytest

from integration import rows
from integration.rows import SPEC
from models.database import Database
from models.errors import WaitTimedOut
from models.state import JobState
from servers import Outage
from service import jobs
from service.queries.rows import Progress
from service.queries.selectors import ids_condition
from service.queries.watching import find_obstacle, follow, watch


def test_watching_jobs_that_have_ended_gives_one_snapshot(database: Database):
    job_ids = rows.submit(database, SPEC, SPEC)
    jobs.cancel(database, ids_condition(job_ids))

    (snapshot,) = watch(database, ids_condition(job_ids))

    assert snapshot.progress.states[JobState.CANCELLED] == 2
    assert not snapshot.is_open
    assert snapshot.obstacle is None


def test_watching_ends_when_the_last_job_does(database: Database):
    first, second = rows.submit(database, SPEC, SPEC)
    jobs.cancel(database, ids_condition([first]))
    open_jobs: list[int] = []

    for progress in follow(database, ids_condition([first, second]), 30):
        open_jobs.append(progress.open_jobs)
        jobs.cancel(database, ids_condition([second]))

    assert open_jobs == [1, 0]


def test_a_wait_that_takes_too_long_says_how_many_jobs_are_left(database: Database):
    job_ids = rows.submit(database, SPEC, SPEC, SPEC)
    jobs.cancel(database, ids_condition(job_ids[:1]))

    with pytest.raises(WaitTimedOut, match=r"2 of 3 jobs are not done after 0\.1 s"):
        list(follow(database, ids_condition(job_ids), 0.1))


def test_a_snapshot_says_what_keeps_jobs_from_starting(database: Database):
    which = ids_condition(rows.submit(database, SPEC))

    without_worker = next(watch(database, which)).obstacle
    jobs.pause(database)
    paused = next(watch(database, which)).obstacle
    without_a_snapshot = find_obstacle(database, next(follow(database, which)))

    assert without_worker == "No worker is running. Type, in another terminal: dq worker"
    assert paused == "The queue is paused. Type: dq resume"
    assert without_a_snapshot == paused


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
def test_watching_outlasts_a_restart_of_the_database(database: Database, outage: Outage):
    job_id = rows.submit_one(database)
    jobs.cancel(database, ids_condition([job_id]))
    ended: list[Progress] = []

    def watch_it() -> None:
        ended.extend(each.progress for each in watch(database, ids_condition([job_id])))

    watching = threading.Thread(target=watch_it)
    with outage(database):
        watching.start()
        watching.join(0.2)
        goes_on = watching.is_alive()
    watching.join(30)

    assert goes_on
    assert [progress.open_jobs for progress in ended] == [0]
