from collections import Counter

import pytest
from sqlalchemy import select

from integration import rows
from integration.race import race
from integration.rows import SPEC
from models.database import Database
from models.tables import Job

CLAIM_ALL = """
from models.database import Database
from worker.execution.recorder import Recorder

url, worker = sys.argv[1:]
recorder = Recorder(Database(url), worker, lease_seconds=60)
recorder.database.revision()
at_once()
job_ids = []
while claims := recorder.claim_next(lambda _: 1):
    job_ids += [claim.job_id for claim in claims]
print(json.dumps(job_ids))
"""


def test_of_processes_that_want_the_same_jobs_each_job_goes_to_one(database: Database):
    job_ids = rows.submit(database, *[SPEC] * 100)
    url = database.url.render_as_string(hide_password=False)

    claimed = race(CLAIM_ALL, *[[url, f"worker {n}"] for n in range(4)])

    claims = {job_id: f"worker {n}" for n, ids in enumerate(claimed) for job_id in ids}
    assert Counter(job_id for ids in claimed for job_id in ids) == Counter(job_ids)
    assert all(ids == sorted(ids) for ids in claimed), "the oldest go first"
    for job_id in job_ids:
        job, attempts = rows.job(database, job_id), rows.attempts(database, job_id)
        assert (job.state, job.attempt, job.worker) == ("running", 1, claims[job_id])
        assert [attempt.worker for attempt in attempts] == [claims[job_id]]


CLAIM_IN_TURNS = """
import time
from models.database import Database
from worker.execution.ending import RELEASED
from worker.execution.recorder import Recorder

url, worker = sys.argv[1:]
recorder = Recorder(Database(url), worker, lease_seconds=60)
recorder.database.revision()
at_once()
numbers = []
deadline = time.monotonic() + 20
while len(numbers) < 10 and time.monotonic() < deadline:
    for claim in recorder.claim_next(lambda _: 1):
        numbers.append(claim.attempt)
        recorder.end(claim, RELEASED)
print(json.dumps(numbers))
"""


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
def test_no_two_attempts_of_a_job_have_the_same_number(database: Database):
    rows.submit_one(database)
    url = database.url.render_as_string(hide_password=False)

    numbers = race(
        CLAIM_IN_TURNS,
        *[[url, f"worker {n}"] for n in range(3)],
    )

    assert [len(each) for each in numbers] == [10, 10, 10]
    assert sorted(number for each in numbers for number in each) == [*range(1, 31)]


SUBMIT = """
import uuid
from models.database import Database
from models.spec import ExperimentSpec
from service.jobs import SubmitOptions, submit

url, first, last, spec = sys.argv[1:]
spec = ExperimentSpec.model_validate_json(spec)
specs = [spec.model_copy(update={"seed": seed}) for seed in range(int(first), int(last))]
database = Database(url)
database.revision()
class Silent:
    def publish(self, messages):
        pass
at_once()
submitted = submit(database, Silent(), specs, SubmitOptions(reuse=True), uuid.uuid4().hex)
print(json.dumps([submitted.created, submitted.open_before]))
"""


def test_of_processes_that_submit_the_same_specs_at_once_each_spec_is_run_once(database: Database):
    """More than one transaction takes; the third asks for half of them, and for others."""
    url, spec = database.url.render_as_string(hide_password=False), SPEC.model_dump_json()
    ranges = [("0", "3000"), ("0", "3000"), ("1500", "4500")]

    submitted = race(SUBMIT, *[[url, first, last, spec] for first, last in ranges])

    created = [job_id for mine, _ in submitted for job_id in mine]
    with database.reading() as session:
        seeds = Counter(spec["seed"] for spec in session.scalars(select(Job.spec)))
    assert seeds == Counter(range(4500))
    assert len(created) == 4500
    assert [len(mine) + len(shared) for mine, shared in submitted] == [3000] * 3
