"""What Prometheus reads, parsed by Prometheus' own parser."""

from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import update

from integration import rows
from models.clock import from_now
from models.tables import Result, Worker
from service.operations.metrics import render
from worker.execution.recorder import AttemptUpdate


def read(database):
    """Return the samples: (name, labels) to value."""
    families = text_string_to_metric_families(render(database))
    samples = [sample for family in families for sample in family.samples]
    return {(each.name, *sorted(each.labels.values())): each.value for each in samples}


def finish(database, recorder, seconds):
    claim = rows.claim(recorder, rows.submit_one(database))
    rows.begin(recorder, claim, rows.PROVENANCE, 0)
    rows.succeed(recorder, claim, AttemptUpdate(rows.measured_all()))
    with database.writing() as session:
        done = update(Result).where(Result.job_id == claim.job_id)
        session.execute(done.values(seconds=seconds))


def test_an_empty_queue_has_all_metrics_at_zero(database):
    found = read(database)

    assert found["dq_jobs", "queued"] == 0
    assert found["dq_oldest_queued_seconds",] == 0
    assert found["dq_attempts_total", "lost"] == 0
    assert found["dq_reconciler_actions_total", "republished"] == 0
    assert found["dq_job_seconds_count",] == 0


def test_jobs_are_counted_by_state_and_the_oldest_queued_has_its_age(database, recorder):
    old, *_ = [rows.submit_one(database) for _ in range(3)]
    rows.change(database, old, created_at=from_now(-100))
    rows.claim(recorder, rows.submit_one(database))

    found = read(database)

    assert found["dq_jobs", "queued"] == 3
    assert found["dq_jobs", "running"] == 1
    assert 100 <= found["dq_oldest_queued_seconds",] < 200


def test_the_seconds_of_finished_jobs_are_a_histogram(database, recorder):
    for seconds in (0.5, 3, 100_000):
        finish(database, recorder, seconds)

    found = read(database)

    assert found["dq_job_seconds_count",] == 3
    assert found["dq_job_seconds_sum",] == 100_003.5
    assert found["dq_job_seconds_bucket", "1.0"] == 1
    assert found["dq_job_seconds_bucket", "5.0"] == 2
    assert found["dq_job_seconds_bucket", "86400.0"] == 2
    assert found["dq_job_seconds_bucket", "+Inf"] == 3
    assert found["dq_attempts_total", "succeeded"] == 3


def test_repairs_are_counted_for_ever(database, recorder, reconciler):
    job_id = rows.submit_one(database)
    rows.add_worker(database, "idle@here")
    for _ in range(2):
        rows.claim(recorder, job_id)
        rows.expire(database, job_id)
        reconciler.reconcile()

    found = read(database)

    assert found["dq_reconciler_actions_total", "lost"] == 2
    assert found["dq_reconciler_actions_total", "republished"] == 1
    assert found["dq_attempts_total", "lost"] == 2


def test_gpus_report_their_memory_and_silent_workers_nothing(database):
    rows.add_worker(database, "cuda0-1@here")
    rows.add_worker(database, "cpu0-1@here")
    rows.add_worker(database, "cpu0-2@here", silent_seconds=100)
    with database.writing() as session:
        gpu = update(Worker).where(Worker.id == "cuda0-1@here")
        memory = {"memory_used": 3 * 2**30, "memory_total": 80 * 2**30}
        session.execute(gpu.values(device='H"100', device_uuid="GPU-1", **memory))

    found = read(database)

    assert found["dq_workers", "cpu", "here"] == 1
    assert found["dq_workers", 'H"100', "here"] == 1
    assert found["dq_gpu_memory_bytes", "GPU-1", 'H"100', "here", "used"] == 3 * 2**30
    assert found["dq_gpu_memory_bytes", "GPU-1", 'H"100', "here", "total"] == 80 * 2**30
