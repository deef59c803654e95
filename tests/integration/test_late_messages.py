"""Which messages never reach the child: those of jobs that were taken along with others."""

import pytest

from integration import rows
from models.database import Database
from servers import Outage
from service import jobs
from service.queries.selectors import ids_condition
from worker.execution.claims import Claim
from worker.execution.recorder import AttemptUpdate, Recorder
from worker.queue.late_messages import LateMessages


@pytest.fixture
def late(database: Database) -> LateMessages:
    return LateMessages(database)


def finish(recorder: Recorder, claims: list[Claim]) -> None:
    assert not recorder.succeed({each: AttemptUpdate(rows.measured_all()) for each in claims})


def submit(database: Database, count: int) -> list[int]:
    return rows.submit(database, *[rows.spec(seed=seed) for seed in range(count)])


def test_messages_of_jobs_that_were_taken_along_are_late_and_others_are_not(
    database: Database, recorder: Recorder, late: LateMessages
):
    *packed, waiting = submit(database, 4)
    claims = rows.claim_pack(recorder, packed[0], len(packed))
    asked = [*packed, waiting, waiting + 1]

    while_they_run = late.find(asked)
    finish(recorder, claims)

    assert while_they_run == set(packed)
    assert late.find(asked) == set(packed)


def test_the_message_of_a_job_that_waits_again_is_not_late(
    database: Database, recorder: Recorder, late: LateMessages
):
    job_ids = submit(database, 3)
    _, second, third = rows.claim_pack(recorder, job_ids[0], len(job_ids))
    rows.fail(recorder, second, "no more")
    assert late.find(job_ids) == set(job_ids)

    jobs.retry(database, rows.FakeBroker(), ids_condition([second.job_id]), from_scratch=False)
    rows.release(recorder, third)

    assert late.find(job_ids) == {job_ids[0]}


def test_the_message_of_a_job_that_was_claimed_alone_is_not_late(
    database: Database, recorder: Recorder, late: LateMessages
):
    job_id = rows.submit_one(database)
    rows.claim(recorder, job_id)

    assert not late.find([job_id])


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
def test_without_the_database_no_message_is_late(
    database: Database, recorder: Recorder, late: LateMessages, outage: Outage
):
    job_ids = submit(database, 2)
    rows.claim_pack(recorder, job_ids[0], len(job_ids))

    with outage(database):
        assert not late.find(job_ids)
