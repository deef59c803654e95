from pathlib import Path

import pytest
from sqlalchemy import select

from integration import rows
from integration.rows import SPEC
from models.database import Database
from models.errors import UsageError
from models.tables import Sweep
from service import jobs
from service.jobs.annotations import add_tags
from service.jobs.deletion import Deleted, delete_jobs
from service.queries.jobs import list_ids
from service.queries.selectors import ids_condition, parse_selectors
from worker.execution.recorder import AttemptUpdate, Recorder

OTHER = SPEC.model_copy(update={"seed": 1})


def finish(recorder: Recorder, job_id: int) -> None:
    progress = AttemptUpdate(rows.measured_all(), f"{job_id}/1-2-0", 2)
    rows.succeed(recorder, rows.claim(recorder, job_id), progress)


def delete(database: Database, folder: Path, *words: str) -> Deleted:
    return delete_jobs(database, parse_selectors(words), folder)


def sweeps(database: Database) -> list[int]:
    with database.reading() as session:
        return list(session.scalars(select(Sweep.id).order_by(Sweep.id)))


def test_nothing_is_left_of_a_deleted_job_and_the_others_stay_as_they_are(
    database: Database, recorder: Recorder, tmp_path: Path
):
    other = rows.submit_one(database, tags=("paper",))
    finish(recorder, other)
    before = rows.everything(database)
    job_id = rows.submit_one(database, keep_checkpoint=True)
    add_tags(database, ids_condition([job_id]), ["paper"])
    finish(recorder, job_id)
    for each in (other, job_id):
        (tmp_path / str(each)).mkdir()
        (tmp_path / str(each) / "1-2-0").write_text("weights")

    deleted = delete(database, tmp_path, str(job_id))

    after = rows.everything(database)
    assert deleted == Deleted((job_id,), 0)
    assert {**after, "sweeps": after["sweeps"][:1], "owners": before["owners"]} == before
    assert [path.name for path in tmp_path.iterdir()] == [str(other)]


def test_a_job_that_has_not_ended_is_not_deleted_nor_are_those_named_with_it(
    database: Database, recorder: Recorder, tmp_path: Path
):
    done, runs, waits = rows.submit(database, SPEC, OTHER, rows.spec(seed=2))
    finish(recorder, done)
    rows.claim(recorder, runs)
    before = rows.everything(database)

    with pytest.raises(
        UsageError, match=r"2 jobs of these are queued or running.*dq cancel 2\.\.3"
    ):
        delete(database, tmp_path, "s1")

    assert rows.everything(database) == before
    assert rows.job(database, waits).state == "queued"


def test_a_checkpoint_on_another_host_is_counted(
    database: Database, recorder: Recorder, tmp_path: Path
):
    job_id = rows.submit_one(database, keep_checkpoint=True)
    finish(recorder, job_id)

    assert delete(database, tmp_path, "1") == Deleted((job_id,), 1)


def test_a_sweep_is_deleted_with_its_last_job_which_leaves_other_sweeps_too(
    database: Database, recorder: Recorder, tmp_path: Path
):
    shared = rows.submit_one(database)
    rows.submit(database, SPEC, OTHER, reuse=True)
    rows.submit(database, SPEC, reuse=True)
    finish(recorder, shared)

    delete(database, tmp_path, "1")

    assert list_ids(database, parse_selectors(["s2"])) == [2]
    # The newest stays, though it is empty: SQLite would give its number again.
    assert sweeps(database) == [2, 3]


def test_neither_a_jobs_id_nor_a_sweeps_number_is_used_again(database: Database, tmp_path: Path):
    jobs_before = rows.submit(database, SPEC, OTHER)
    jobs.cancel(database, parse_selectors(["s1"]))

    delete(database, tmp_path, "s1")
    first, second = rows.submit(database, SPEC, OTHER)
    jobs.cancel(database, parse_selectors([str(second)]))
    delete(database, tmp_path, str(second))
    third = rows.submit_one(database)

    assert max(jobs_before) < first < second < third
    assert sweeps(database) == [2, 3]


def test_a_spec_whose_job_was_deleted_is_run_again(
    database: Database, recorder: Recorder, tmp_path: Path
):
    finish(recorder, rows.submit_one(database))

    delete(database, tmp_path, "1")
    (again,) = rows.submit(database, SPEC, reuse=True)

    assert rows.states(database, [again]) == ["queued"]


def test_an_attempt_that_wakes_up_after_its_job_was_deleted_writes_nothing(
    database: Database, recorder: Recorder, tmp_path: Path
):
    job_id = rows.submit_one(database)
    claim = rows.claim(recorder, job_id)
    rows.expire(database, job_id)
    jobs.cancel(database, parse_selectors(["1"]))
    delete(database, tmp_path, "1")
    before = rows.everything(database)

    assert recorder.renew({claim: AttemptUpdate((rows.measured(1),))}) == {claim}
    assert rows.everything(database) == before
