import os
import re
import socket
import subprocess
import sys

from sqlalchemy import select, update

from integration import rows
from integration.rows import SPEC
from models import lifecycle
from models.clock import from_now
from models.database import Database
from models.state import Outcome
from models.tables import Attempt, Job, Worker
from service import jobs
from service.queries.selectors import ids_condition
from worker.execution.recorder import AttemptUpdate, Recorder
from worker.supervisor.devices import Device
from worker.supervisor.registry import WorkerRegistry, worker_name

DEVICES = [Device("cpu0", "cpu", {}), Device("cpu1", "cpu", {})]
NAMES = [worker_name(device) for device in DEVICES]


def workers(database: Database) -> list[Worker]:
    with database.reading() as session:
        return list(session.scalars(select(Worker).order_by(Worker.id)))


def lose(database: Database, job_id: int, seconds_ago: float) -> None:
    with database.writing() as session:
        lifecycle.lose(session, session.get_one(Job, job_id), "it fell silent")
        session.execute(update(Attempt).values(ended_at=from_now(-seconds_ago)))


def test_a_worker_is_named_after_its_device_its_supervisor_and_its_host():
    name = worker_name(DEVICES[0])

    assert re.fullmatch(rf"cpu0-[0-9a-f]{{4}}-{os.getpid()}@{socket.gethostname()}", name)


def test_a_container_that_is_restarted_with_the_same_ids_gets_other_names():
    code = """
import os
from worker.supervisor.devices import Device
from worker.supervisor.registry import worker_name
os.getpid = lambda: 7
print(worker_name(Device("cpu0", "cpu", {})))
"""

    names = {subprocess.check_output([sys.executable, "-P", "-c", code]) for _ in range(3)}

    assert len(names) > 1


def test_the_first_beat_enters_the_workers_and_later_ones_keep_them_fresh(database: Database):
    registry = WorkerRegistry(database, DEVICES)

    registry.beat()
    first = workers(database)
    registry.beat()
    second = workers(database)

    assert [(each.id, each.pid, each.device, each.state) for each in first] == [
        (name, os.getpid(), "cpu", "active") for name in NAMES
    ]
    for before, after in zip(first, second, strict=True):
        assert after.started_at == before.started_at
        assert after.heartbeat_at >= before.heartbeat_at


def test_a_beat_does_not_call_back_a_worker_that_was_told_to_end(database: Database):
    registry = WorkerRegistry(database, DEVICES)
    registry.beat()
    jobs.drain(database, NAMES[1])

    registry.beat()

    assert registry.find_draining() == {NAMES[1]}


def test_a_registry_leaves_the_workers_of_other_supervisors_alone(database: Database):
    rows.add_worker(database, "cpu0-1@elsewhere")
    registry = WorkerRegistry(database, DEVICES)
    registry.beat()
    jobs.drain(database, "cpu0-1@elsewhere")

    draining = registry.find_draining()
    registry.sign_off()

    assert draining == set()
    assert [each.id for each in workers(database)] == ["cpu0-1@elsewhere"]


def test_a_worker_that_was_silent_for_a_day_is_forgotten(database: Database):
    rows.add_worker(database, "silent", silent_seconds=25 * 3600)
    rows.add_worker(database, "resting", silent_seconds=23 * 3600)

    WorkerRegistry(database, []).beat()

    assert [each.id for each in workers(database)] == ["resting"]


def test_workers_that_leave_give_back_what_they_ran_without_a_crash(database: Database):
    mine, others = rows.submit(database, SPEC, SPEC)
    rows.claim(Recorder(database, NAMES[0], 30), mine)
    rows.claim(Recorder(database, "cpu0-1@elsewhere", 30), others)
    registry = WorkerRegistry(database, DEVICES)
    registry.beat()

    registry.sign_off()

    job, (attempt,) = rows.job(database, mine), rows.attempts(database, mine)
    assert (job.state, job.crashes) == ("queued", 0)
    assert attempt.outcome == Outcome.RELEASED
    assert rows.job(database, others).state == "running"
    assert workers(database) == []


def test_a_job_asked_to_stop_is_cancelled_when_its_worker_leaves(database: Database):
    job_id = rows.submit_one(database)
    rows.claim(Recorder(database, NAMES[0], 30), job_id)
    jobs.cancel(database, ids_condition([job_id]))

    WorkerRegistry(database, DEVICES).sign_off()

    assert rows.job(database, job_id).state == "cancelled"


def test_a_child_that_lost_its_job_long_ago_and_took_no_other_is_stuck(database: Database):
    job_id = rows.submit_one(database)
    rows.claim(Recorder(database, NAMES[0], 30), job_id)
    lose(database, job_id, seconds_ago=11)

    assert WorkerRegistry(database, DEVICES).find_stuck_children(10) == [os.getpid()]


def test_a_child_that_lost_its_job_just_now_may_still_notice(database: Database):
    job_id = rows.submit_one(database)
    rows.claim(Recorder(database, NAMES[0], 30), job_id)
    lose(database, job_id, seconds_ago=9)

    assert WorkerRegistry(database, DEVICES).find_stuck_children(10) == []


def test_a_child_that_took_another_job_is_not_stuck(database: Database):
    lost, next_one = rows.submit(database, SPEC, SPEC)
    recorder = Recorder(database, NAMES[0], 30)
    rows.claim(recorder, lost)
    lose(database, lost, seconds_ago=11)
    rows.claim(recorder, next_one)

    assert WorkerRegistry(database, DEVICES).find_stuck_children(10) == []


def test_a_child_whose_job_ended_well_is_not_stuck(database: Database):
    job_id = rows.submit_one(database)
    recorder = Recorder(database, NAMES[0], 30)
    rows.succeed(recorder, rows.claim(recorder, job_id), AttemptUpdate(rows.measured_all()))

    assert WorkerRegistry(database, DEVICES).find_stuck_children(0) == []
