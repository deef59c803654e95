import pytest

from integration import rows
from integration.rows import SPEC
from models.clock import from_now
from models.database import Database
from service.jobs.pruning import prunable_condition, prune
from service.queries.jobs import list_compared_jobs
from service.queries.selectors import ids_condition
from worker.execution.recorder import AttemptUpdate, Recorder

HOUR = 3600.0


def finish(recorder: Recorder, job_id: int) -> None:
    rows.succeed(recorder, rows.claim(recorder, job_id), AttemptUpdate(rows.measured_all()))


def test_of_an_old_job_its_last_epoch_and_its_result_stay(database: Database, recorder: Recorder):
    old, new, waits = rows.submit(database, *(rows.spec(seed=seed) for seed in range(3)))
    finish(recorder, old)
    finish(recorder, new)
    rows.change(database, old, finished_at=from_now(-2 * HOUR))
    before = list_compared_jobs(database, ids_condition([old, new, waits]))
    result = vars(rows.result(database, old))

    pruned = [prune(database, prunable_condition(HOUR)) for _ in range(2)]

    assert pruned == [1, 0]
    assert [row.epoch for row in rows.epochs(database, old)] == [SPEC.epochs]
    assert rows.log(database, old) == []
    assert len(rows.epochs(database, new)) == SPEC.epochs
    assert rows.log(database, new)
    assert list_compared_jobs(database, ids_condition([old, new, waits])) == before
    assert rows.result(database, old).valid_loss == result["valid_loss"]


@pytest.mark.parametrize("state", ["queued", "running"])
def test_a_job_that_has_not_ended_is_not_pruned(database: Database, state: str):
    job_id = rows.submit_one(database)
    rows.change(database, job_id, state=state, finished_at=from_now(-2 * HOUR))
    before = rows.everything(database)

    assert prune(database, prunable_condition(HOUR)) == 0
    assert rows.everything(database) == before
