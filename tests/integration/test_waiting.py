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
from service.queries.waiting import wait


def test_a_wait_for_jobs_that_ended_returns_at_once(database: Database):
    job_ids = rows.submit(database, SPEC, SPEC)
    jobs.cancel(database, ids_condition(job_ids))
    shown: list[Progress] = []

    progress = wait(database, ids_condition(job_ids), None, shown.append)

    assert progress.states[JobState.CANCELLED] == 2
    assert shown == [progress]


def test_a_wait_ends_when_the_last_job_does(database: Database):
    first, second = rows.submit(database, SPEC, SPEC)
    jobs.cancel(database, ids_condition([first]))
    looks: list[int] = []

    def show(progress: Progress) -> None:
        looks.append(progress.open_jobs)
        jobs.cancel(database, ids_condition([second]))

    wait(database, ids_condition([first, second]), 30, show)

    assert looks == [1, 0]


def test_a_wait_that_takes_too_long_says_how_many_jobs_are_left(database: Database):
    job_ids = rows.submit(database, SPEC, SPEC, SPEC)
    jobs.cancel(database, ids_condition(job_ids[:1]))

    with pytest.raises(WaitTimedOut, match=r"2 of 3 jobs are not done after 0\.1 s"):
        wait(database, ids_condition(job_ids), 0.1, lambda _: None)


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
def test_a_wait_outlasts_a_restart_of_the_database(database: Database, outage: Outage):
    job_id = rows.submit_one(database)
    jobs.cancel(database, ids_condition([job_id]))
    ended: list[Progress] = []

    def wait_for_it() -> None:
        ended.append(wait(database, ids_condition([job_id]), None, lambda _: None))

    waiting = threading.Thread(target=wait_for_it)
    with outage(database):
        waiting.start()
        waiting.join(0.2)
        waits_on = waiting.is_alive()
    waiting.join(30)

    assert waits_on
    assert [progress.open_jobs for progress in ended] == [0]
