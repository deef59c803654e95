import pytest
from sqlalchemy import update

from integration import rows
from integration.rows import SPEC, FakeBroker
from models.database import Database
from models.tables import Result
from service import jobs
from service.jobs import SubmitOptions
from service.queries.jobs import list_ids
from service.queries.selectors import ids_condition, parse_selectors
from worker.execution.recorder import AttemptUpdate, Recorder

OTHER = SPEC.model_copy(update={"seed": 1})
REUSE = SubmitOptions(reuse=True)


def succeed(recorder: Recorder, job_id: int) -> None:
    rows.succeed(recorder, rows.claim(recorder, job_id), AttemptUpdate(rows.measured_all()))


def test_a_finished_job_of_the_same_spec_is_taken_over(database: Database, recorder: Recorder):
    known = rows.submit_one(database)
    succeed(recorder, known)
    broker = FakeBroker()

    submitted = jobs.submit(database, broker, [SPEC, OTHER], REUSE, "token")

    (created,) = submitted.created
    assert (submitted.finished_before, submitted.open_before) == ((known,), ())
    assert rows.job(database, created).spec == OTHER.model_dump(mode="json")
    assert [message.job_id for message in broker.published] == [created]
    assert list_ids(database, parse_selectors(["@last"])) == [known, created]


def test_a_job_that_waits_or_runs_is_joined(database: Database, recorder: Recorder):
    waits, runs = rows.submit(database, SPEC, OTHER)
    rows.claim(recorder, runs)

    submitted = jobs.submit(database, FakeBroker(), [SPEC, OTHER], REUSE, "token")

    assert (submitted.created, submitted.finished_before, submitted.open_before) == (
        (),
        (),
        (waits, runs),
    )
    assert list_ids(database, parse_selectors([f"s{submitted.sweep_id}"])) == [waits, runs]


def test_a_finished_job_is_preferred_to_one_that_waits(database: Database, recorder: Recorder):
    _, finished = rows.submit(database, SPEC, SPEC)
    succeed(recorder, finished)

    submitted = jobs.submit(database, FakeBroker(), [SPEC], REUSE, "token")

    assert (submitted.created, submitted.finished_before) == ((), (finished,))


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_a_job_that_ended_without_a_result_is_run_anew(database: Database, state: str):
    rows.change(database, rows.submit_one(database), state=state)

    submitted = jobs.submit(database, FakeBroker(), [SPEC], REUSE, "token")

    assert len(submitted.created) == 1
    assert (submitted.finished_before, submitted.open_before) == ((), ())


def test_a_result_of_another_version_of_the_trainer_is_run_anew(
    database: Database, recorder: Recorder
):
    succeed(recorder, rows.submit_one(database))
    with database.writing() as session:
        session.execute(update(Result).values(trainer_version=0))

    submitted = jobs.submit(database, FakeBroker(), [SPEC], REUSE, "token")

    assert (len(submitted.created), submitted.finished_before) == (1, ())


def test_nothing_is_taken_over_unasked(database: Database, recorder: Recorder):
    succeed(recorder, rows.submit_one(database))

    submitted = jobs.submit(database, FakeBroker(), [SPEC], SubmitOptions(), "token")

    assert (len(submitted.created), submitted.finished_before) == (1, ())


def test_a_second_submit_with_the_same_token_takes_over_the_same(
    database: Database, recorder: Recorder
):
    succeed(recorder, rows.submit_one(database))
    first = jobs.submit(database, FakeBroker(), [SPEC, OTHER], REUSE, "token")

    second = jobs.submit(database, FakeBroker(), [SPEC, OTHER], REUSE, "token")

    assert second == first


def test_tags_are_put_on_the_jobs_taken_over_as_well(database: Database):
    known = rows.submit_one(database, tags=("old", "paper"))

    jobs.submit(
        database, FakeBroker(), [SPEC], SubmitOptions(reuse=True, tags=("paper", "new")), "token"
    )

    assert sorted(rows.tags(database, known)) == ["new", "old", "paper"]


def test_two_thousand_finished_jobs_are_taken_over_at_once(database: Database):
    specs = [SPEC.model_copy(update={"lr": 1 / (1 + n)}) for n in range(2_000)]
    known = rows.submit(database, *specs)

    submitted = jobs.submit(database, FakeBroker(), specs, REUSE, "token")

    assert submitted.open_before == tuple(known)
    assert list_ids(database, ids_condition(submitted.job_ids)) == known
