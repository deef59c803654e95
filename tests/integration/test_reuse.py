import pytest
from sqlalchemy import update

from integration import rows
from integration.rows import SPEC, Bells
from models.database import Database
from models.tables import Result
from service import jobs
from service.jobs import Order
from service.queries import list_ids
from service.selector import condition, ids_condition
from worker.recorder import Progress, Recorder

OTHER = SPEC.model_copy(update={"seed": 1})
REUSE = Order(reuse=True)


def succeed(recorder: Recorder, job_id: int) -> None:
    rows.succeed(recorder, rows.claim(recorder, job_id), Progress(rows.measured_all()))


def test_a_finished_job_of_the_same_spec_is_taken_over(database: Database, recorder: Recorder):
    known = rows.submit_one(database)
    succeed(recorder, known)
    bells = Bells()

    submitted = jobs.submit(database, bells, [SPEC, OTHER], REUSE, "token")

    (created,) = submitted.created
    assert (submitted.reused, submitted.joined) == ((known,), ())
    assert rows.job(database, created).spec == OTHER.model_dump(mode="json")
    assert [bell.job_id for bell in bells.rung] == [created]
    assert list_ids(database, condition(["@last"])) == [known, created]


def test_a_job_that_waits_or_runs_is_joined(database: Database, recorder: Recorder):
    waits, runs = rows.submit(database, SPEC, OTHER)
    rows.claim(recorder, runs)

    submitted = jobs.submit(database, Bells(), [SPEC, OTHER], REUSE, "token")

    assert (submitted.created, submitted.reused, submitted.joined) == ((), (), (waits, runs))
    assert list_ids(database, condition([f"s{submitted.sweep_id}"])) == [waits, runs]


def test_a_finished_job_is_preferred_to_one_that_waits(database: Database, recorder: Recorder):
    _, finished = rows.submit(database, SPEC, SPEC)
    succeed(recorder, finished)

    submitted = jobs.submit(database, Bells(), [SPEC], REUSE, "token")

    assert (submitted.created, submitted.reused) == ((), (finished,))


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_a_job_that_ended_without_a_result_is_run_anew(database: Database, state: str):
    rows.change(database, rows.submit_one(database), state=state)

    submitted = jobs.submit(database, Bells(), [SPEC], REUSE, "token")

    assert len(submitted.created) == 1
    assert (submitted.reused, submitted.joined) == ((), ())


def test_a_result_of_another_version_of_the_trainer_is_run_anew(
    database: Database, recorder: Recorder
):
    succeed(recorder, rows.submit_one(database))
    with database.writing() as session:
        session.execute(update(Result).values(trainer_version=0))

    submitted = jobs.submit(database, Bells(), [SPEC], REUSE, "token")

    assert (len(submitted.created), submitted.reused) == (1, ())


def test_nothing_is_taken_over_unasked(database: Database, recorder: Recorder):
    succeed(recorder, rows.submit_one(database))

    submitted = jobs.submit(database, Bells(), [SPEC], Order(), "token")

    assert (len(submitted.created), submitted.reused) == (1, ())


def test_a_second_submit_with_the_same_token_takes_over_the_same(
    database: Database, recorder: Recorder
):
    succeed(recorder, rows.submit_one(database))
    first = jobs.submit(database, Bells(), [SPEC, OTHER], REUSE, "token")

    second = jobs.submit(database, Bells(), [SPEC, OTHER], REUSE, "token")

    assert second == first


def test_tags_are_put_on_the_jobs_taken_over_as_well(database: Database):
    known = rows.submit_one(database, tags=("old", "paper"))

    jobs.submit(database, Bells(), [SPEC], Order(reuse=True, tags=("paper", "new")), "token")

    assert sorted(rows.tags(database, known)) == ["new", "old", "paper"]


def test_two_thousand_finished_jobs_are_taken_over_at_once(database: Database):
    specs = [SPEC.model_copy(update={"lr": 1 / (1 + n)}) for n in range(2_000)]
    known = rows.submit(database, *specs)

    submitted = jobs.submit(database, Bells(), specs, REUSE, "token")

    assert submitted.joined == tuple(known)
    assert list_ids(database, ids_condition(submitted.job_ids)) == known
