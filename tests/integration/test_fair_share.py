"""Whose job is next, among several owners."""

import time
from collections import Counter
from dataclasses import replace

import pytest
from sqlalchemy import select

from integration import rows
from models import lifecycle, usage
from models.database import Database
from models.message import Priority
from models.tables import Job, Owner
from service import jobs
from service.queries.explanations import explain_wait
from service.queries.owners import list_owners
from service.queries.selectors import ids_condition
from worker.execution.claims import Claim
from worker.execution.ending import CANCELLED, Ending, fail
from worker.execution.recorder import AttemptUpdate, Recorder


def submit(database: Database, owner: str, count: int, **options: object) -> list[int]:
    specs = [rows.spec(seed=seed) for seed in range(count)]
    return rows.submit(database, *specs, owner=owner, **options)


def finish(recorder: Recorder, claim: Claim, seconds: float = 0.25) -> None:
    *others, last = rows.measured_all()
    rows.succeed(recorder, claim, AttemptUpdate((*others, replace(last, seconds=seconds))))


def owner_of(database: Database, claim: Claim | None) -> str:
    assert claim
    return rows.job(database, claim.job_id).owner


def test_one_owner_notices_nothing(database: Database, recorder: Recorder):
    low = submit(database, "ann", 1, priority=Priority.LOW)
    normal = submit(database, "ann", 2)

    claimed = [rows.claim_next(recorder) for _ in range(4)]

    assert [claim and claim.job_id for claim in claimed] == [*normal, *low, None]


def test_ten_jobs_of_one_owner_do_not_wait_for_a_thousand_of_another(
    database: Database, recorder: Recorder
):
    submit(database, "ann", 1000)
    few = submit(database, "bob", 10)

    owners = []
    while rows.job(database, few[-1]).state == "queued":
        claim = rows.claim_next(recorder)
        owners.append(owner_of(database, claim))
        finish(recorder, claim)

    assert owners.count("bob") == 10
    assert len(owners) <= 20, "they take turns"


def test_owners_with_endless_work_get_half_the_workers_each(database: Database):
    submit(database, "ann", 300, priority=Priority.HIGH)
    submit(database, "bob", 300, priority=Priority.LOW)
    workers = [Recorder(database, f"cpu{number}-1@here", 30) for number in range(4)]
    running = [(worker, rows.claim_next(worker)) for worker in workers]
    held = Counter[str]()

    for turn in range(60):
        worker, claim = running.pop(turn % 4 if turn % 3 else 0)
        held.update(owner_of(database, each) for _, each in [*running, (worker, claim)])
        finish(worker, claim)
        running.append((worker, rows.claim_next(worker)))

    assert held["ann"] / held.total() == pytest.approx(0.5, abs=0.05)


def test_who_used_least_goes_first_where_workers_are_equal(database: Database, recorder: Recorder):
    for owner, seconds in (("ann", 100.0), ("bob", 5.0), ("cyd", 20.0)):
        submit(database, owner, 3)
        (job_id, *_) = [row.id for row in _queued(database, owner)]
        finish(recorder, rows.claim(recorder, job_id), seconds)

    claimed = []
    for _ in range(3):
        claim = rows.claim_next(recorder)
        claimed.append(owner_of(database, claim))
        rows.fail(recorder, claim, "no more")
        jobs.cancel(database, ids_condition([row.id for row in _queued(database, claimed[-1])]))

    assert claimed == ["bob", "cyd", "ann"]


def _queued(database: Database, owner: str) -> list[Job]:
    with database.reading() as session:
        query = select(Job).where(Job.owner == owner, Job.state == "queued")
        return list(session.scalars(query.order_by(Job.id)))


def test_what_was_used_a_week_ago_counts_half(
    database: Database, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
):
    (job_id,) = submit(database, "ann", 1)
    finish(recorder, rows.claim(recorder, job_id), seconds=7199.5)
    used = rows.get(database, Owner, "ann").used
    now = time.time()

    hours = usage.count_hours(used)
    monkeypatch.setattr(time, "time", lambda: now + 7 * 86_400)

    assert hours == pytest.approx(2.0, rel=1e-3)
    assert usage.count_hours(used) == pytest.approx(1.0, rel=1e-3)


@pytest.mark.parametrize("ending", [fail("no more"), CANCELLED])
def test_a_job_that_ended_without_a_result_is_charged_too(
    database: Database, recorder: Recorder, ending: Ending
):
    (job_id,) = submit(database, "ann", 1)
    claim = rows.claim(recorder, job_id)
    rows.record(recorder, claim, AttemptUpdate(rows.measured_all()[:2]))

    rows.end(recorder, claim, ending)

    assert usage.count_hours(rows.get(database, Owner, "ann").used) == pytest.approx(0.5 / 3600)


def test_a_job_that_crashed_too_often_is_charged_too(database: Database, recorder: Recorder):
    (job_id,) = submit(database, "ann", 1, max_crashes=1)
    rows.record(recorder, rows.claim(recorder, job_id), AttemptUpdate(rows.measured_all()[:2]))

    with database.writing() as session:
        lifecycle.lose(session, session.get_one(Job, job_id), "it fell silent")

    assert rows.job(database, job_id).state == "failed"
    assert usage.count_hours(rows.get(database, Owner, "ann").used) == pytest.approx(0.5 / 3600)


def test_jobs_of_two_owners_are_not_trained_together(database: Database, recorder: Recorder):
    of_ann, of_bob = submit(database, "ann", 3), submit(database, "bob", 3)

    claims = rows.claim_pack(recorder, of_ann[0])

    assert [claim.job_id for claim in claims] == of_ann
    assert rows.states(database, of_bob) == ["queued"] * 3


def test_a_known_job_stays_with_the_owner_who_submitted_it_first(database: Database):
    (job_id,) = submit(database, "ann", 1)

    submit(database, "bob", 1, reuse=True)

    assert rows.job(database, job_id).owner == "ann"


def test_owners_and_their_turns_are_told(database: Database, recorder: Recorder):
    of_ann = submit(database, "ann", 3)
    submit(database, "bob", 1)
    rows.claim(recorder, of_ann[0])

    owners = list_owners(database)
    reasons = explain_wait(database, of_ann[2])

    assert [(row.owner, row.queued, row.running, row.workers) for row in owners] == [
        ("bob", 1, 0, 0),
        ("ann", 2, 1, 1),
    ]
    assert reasons[0] == (
        "1 queued job of ann is ahead of it. The next worker goes to the owner with the fewest "
        "workers, then to the one that used the fewest hours lately: bob 0 workers, 0.0 h; "
        "ann 1 worker, 0.0 h."
    )
