"""Estimates from runs in an SQLite file; what it asks SQL for is the same everywhere."""

import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from platformdirs import user_cache_path
from sqlalchemy import true, update

from integration import rows
from models.database import Database
from models.message import Priority
from models.metrics import HIGHER_IS_BETTER
from models.spec import ExperimentSpec
from models.tables import Epoch, Job, Result, Worker
from service.queries import speed
from service.queries.estimate import (
    Estimate,
    count_weights,
    count_work,
    estimate,
    estimate_remaining,
)
from service.queries.selectors import ids_condition

#: 64 features and 10 classes; each of 1,197 images touches 640 + 100 weights.
SMALL = ExperimentSpec(dataset="digits", hidden=(10,), batch_size=100, epochs=1)
SILENT_SECONDS = 60


@pytest.fixture
def backend() -> str:
    return "sqlite"


def changed(spec: ExperimentSpec, **changes: Any) -> ExperimentSpec:
    return ExperimentSpec.model_validate({**spec.model_dump(exclude={"keep"}), **changes})


def add_past(database: Database, spec: ExperimentSpec, *seconds: float) -> None:
    """Store a finished run of the spec for each of these durations, each of another seed."""
    specs = [spec.model_copy(update={"seed": seed}) for seed in range(len(seconds))]
    job_ids = rows.submit(database, *specs)
    with database.writing() as session:
        for job_id, taken in zip(job_ids, seconds, strict=True):
            figures = {**dict.fromkeys(HIGHER_IS_BETTER, 0.5), "seconds": taken}
            session.add(Result(job_id=job_id, attempt=1, trainer_version=1, **figures))


@pytest.fixture
def slow(home: Path) -> Iterator[None]:
    """Have this host's speed be known: a tenth of what a core does today."""
    file = user_cache_path("dq") / f"product-rate-{socket.gethostname()}.json"
    file.parent.mkdir(parents=True)
    file.write_text('{"flops": 5e9}')
    speed._find_flops.cache_clear()
    yield
    speed._find_flops.cache_clear()


def test_without_a_past_run_the_speed_of_this_host_is_measured_once(database: Database):
    speed._find_flops.cache_clear()

    estimated = estimate(database, [changed(SMALL, hidden=(1000,))])
    (file,) = user_cache_path("dq").iterdir()
    before = file.read_bytes()
    speed._find_flops.cache_clear()
    again = estimate(database, [changed(SMALL, hidden=(1000,))])

    assert re.fullmatch(
        r"About \d+ s on 1 worker, going by matrix products timed on this host\.", str(estimated)
    )
    assert (estimated.past_runs, again.speed) == (0, estimated.speed)
    assert estimated.speed
    assert 1e9 < estimated.speed.flops < 1e13
    assert file.read_bytes() == before


@pytest.mark.usefixtures("slow")
def test_past_an_hour_without_a_gpu_it_is_said_what_takes_less(database: Database):
    notebook = ExperimentSpec(keep=(0.9, 0.8, 0.8))
    flops = 10 * (6 * 50_000 + 2 * 10_000) * count_weights(notebook)

    estimated = estimate(database, [notebook])

    assert estimated.seconds == pytest.approx(flops / 5e9 + 10 * 50 * 0.001)
    assert str(estimated) == (
        "About 25.0 h on 1 worker, going by matrix products timed on this host. "
        "Without a GPU, try: --hidden 512x3 (about 10 min)."
    )


@pytest.mark.usefixtures("slow")
def test_what_takes_under_an_hour_or_too_long_with_any_width_gets_no_advice(database: Database):
    assert estimate(database, [changed(ExperimentSpec(), hidden=(512, 512))]).advice == ""
    assert estimate(database, [changed(ExperimentSpec(), epochs=10_000_000)]).advice == ""


@pytest.mark.usefixtures("slow")
def test_past_runs_count_and_the_advice_goes_by_them_too(database: Database):
    add_past(database, changed(SMALL, hidden=(2000,)), 7200)

    estimated = estimate(database, [changed(SMALL, hidden=(2000,))])

    assert str(estimated) == (
        "About 2.0 h on 1 worker, going by 1 run. Without a GPU, try: --hidden 512 (about 31 min)."
    )


def test_a_worker_with_a_gpu_is_assumed_to_be_fast_and_gets_no_advice(database: Database):
    rows.add_worker(database, "gpu")
    with database.writing() as session:
        session.execute(update(Worker).values(device="a GPU", device_uuid="GPU-0"))

    estimated = estimate(database, [changed(ExperimentSpec(), epochs=1000)])

    assert str(estimated) == "About 76 min on 1 worker, going by an assumed 10 TFLOP/s of a GPU."


def test_before_there_is_a_database_the_speed_of_this_host_counts():
    estimated = estimate(None, [SMALL, changed(SMALL, seed=1)])

    assert estimated.speed
    assert estimated.seconds > 0


def test_a_configuration_that_ran_takes_the_median_of_what_it_took_whatever_the_seed(
    database: Database,
):
    add_past(database, SMALL, 10, 11, 1000)
    add_past(database, changed(SMALL, lr=0.2), 1, 1, 1, 1)

    estimated = estimate(database, [SMALL.model_copy(update={"seed": 77})])

    assert estimated.seconds == 11
    assert estimated.past_runs == 7


@pytest.mark.parametrize(
    ("changes", "factor"),
    [
        ({"lr": 0.2}, 1),
        ({"keep": (0.5,), "mask": "sample"}, 1),
        ({"epochs": 7}, 7),
        ({"train_size": 399}, 1 / 3),
        ({"hidden": (20,)}, 2),
        ({"hidden": (10, 10)}, (640 + 100 + 100) / (640 + 100)),
        ({"dataset": "mnist"}, 50_000 / 1_197 * (7840 + 100) / (640 + 100)),
    ],
)
def test_a_configuration_that_never_ran_takes_its_work_at_the_speed_of_past_runs(
    database: Database, changes: dict[str, Any], factor: float
):
    add_past(database, SMALL, 6)

    estimated = estimate(database, [changed(SMALL, **changes)])

    assert estimated.seconds == pytest.approx(6 * factor)


def test_the_speed_is_the_median_so_that_one_slow_run_does_not_count(database: Database):
    add_past(database, SMALL, 2, 3, 4000)

    estimated = estimate(database, [changed(SMALL, epochs=10)])

    assert estimated.seconds == pytest.approx(30)


def test_the_seconds_of_all_specs_add_up(database: Database):
    add_past(database, SMALL, 4)

    estimated = estimate(database, [SMALL, changed(SMALL, epochs=2), changed(SMALL, epochs=3)])

    assert estimated.seconds == pytest.approx(4 + 8 + 12)


def test_workers_that_take_jobs_share_the_work_and_silent_or_draining_ones_do_not(
    database: Database,
):
    add_past(database, SMALL, 12)
    rows.add_worker(database, "one")
    rows.add_worker(database, "two")
    rows.add_worker(database, "silent", SILENT_SECONDS)
    rows.add_worker(database, "ending", state="draining")
    specs = [SMALL.model_copy(update={"seed": seed}) for seed in range(4)]

    estimated = estimate(database, specs)

    assert (estimated.seconds, estimated.workers) == (24, 2)


def test_more_workers_than_jobs_make_a_job_no_shorter(database: Database):
    add_past(database, SMALL, 12)
    for name in ("one", "two", "three"):
        rows.add_worker(database, name)

    assert estimate(database, [SMALL]).seconds == 12
    assert estimate(database, [SMALL, changed(SMALL, seed=1)]).seconds == 12


def test_no_number_of_workers_makes_all_jobs_shorter_than_the_longest(database: Database):
    add_past(database, SMALL, 1)
    for name in ("one", "two", "three"):
        rows.add_worker(database, name)

    estimated = estimate(database, [SMALL, changed(SMALL, epochs=10), changed(SMALL, epochs=2)])

    assert estimated.seconds == pytest.approx(10)


def run(database: Database, job_id: int, epochs: int, seconds: float) -> None:
    """Have a job run that has done `epochs` so far, each in `seconds`."""
    rows.change(database, job_id, state="running", epochs_done=epochs, attempt=1)
    figures = {**dict.fromkeys(HIGHER_IS_BETTER, 0.5), "seconds": seconds}
    with database.writing() as session:
        session.add(Epoch(job_id=job_id, epoch=epochs, attempt=1, **figures))


def test_what_remains_of_jobs_goes_by_the_epochs_of_those_that_run(database: Database):
    long, short = changed(SMALL, epochs=100), changed(SMALL, epochs=50, lr=0.2)
    first, *others = rows.submit(database, long, changed(long, seed=1), short)
    run(database, first, epochs=40, seconds=0.5)

    remaining = estimate_remaining(database, ids_condition([first, *others]))

    assert remaining.seconds == pytest.approx(0.5 * (60 + 100 + 50))


def test_what_remains_of_a_job_is_what_its_own_configuration_took_less_what_is_done(
    database: Database,
):
    spec = changed(SMALL, epochs=10)
    add_past(database, spec, 20, 20, 20)
    with database.writing() as session:
        session.execute(update(Job).values(state="succeeded"))
    (job_id,) = rows.submit(database, changed(spec, seed=9))
    run(database, job_id, epochs=5, seconds=3)

    assert estimate_remaining(database, ids_condition([job_id])).seconds == pytest.approx(10)


def test_what_remains_includes_the_jobs_that_workers_take_before(database: Database):
    add_past(database, SMALL, 4)
    earlier = rows.submit(database, *[changed(SMALL, seed=seed) for seed in (1, 2, 3)])
    (mine,) = rows.submit(database, changed(SMALL, seed=4))
    rows.submit(database, changed(SMALL, seed=5))
    which = ids_condition([mine])

    in_line = estimate_remaining(database, which).seconds
    rows.change(database, earlier[0], held=True)
    rows.change(database, earlier[1], priority=Priority.LOW)
    ahead_of_two = estimate_remaining(database, which).seconds

    # The past run of `add_past` is queued itself.
    assert (in_line, ahead_of_two) == (pytest.approx(20), pytest.approx(12))


def test_jobs_that_have_ended_take_no_more_time(database: Database):
    add_past(database, SMALL, 4)
    rows.change(database, 1, state="succeeded")

    assert estimate_remaining(database, true()).seconds == 0


def test_nothing_to_run_takes_no_time(database: Database):
    add_past(database, SMALL, 12)

    assert estimate(database, []).seconds == 0


def test_the_newest_five_hundred_results_count(database: Database):
    add_past(database, SMALL, *[1.0] * 10)
    add_past(database, SMALL, *[2.0] * 500)

    estimated = estimate(database, [SMALL])

    assert (estimated.seconds, estimated.past_runs) == (2, 500)


def test_a_run_that_took_no_time_that_could_be_measured_does_no_harm(database: Database):
    add_past(database, SMALL, 1)
    with database.writing() as session:
        session.execute(update(Result).values(seconds=0.0))

    assert estimate(database, [changed(SMALL, epochs=5)]).seconds == 0


def test_work_is_the_weights_that_all_images_of_all_epochs_touch():
    notebook = ExperimentSpec()

    assert count_work(SMALL) == 1_197 * (64 * 10 + 10 * 10)
    assert count_work(notebook) == 10 * 50_000 * (784 * 8192 + 2 * 8192**2 + 8192 * 10)
    assert count_work(changed(notebook, train_size=5000)) == count_work(notebook) / 10


@pytest.mark.parametrize(
    ("estimated", "words"),
    [
        (Estimate(40, 12, 1), "About 40 s on 1 worker, going by 12 runs."),
        (Estimate(7200, 500, 8), "About 2.0 h on 8 workers, going by 500 runs."),
        (Estimate(40, 1, 2), "About 40 s on 2 workers, going by 1 run."),
    ],
)
def test_an_estimate_is_written_in_words(estimated: Estimate, words: str):
    assert str(estimated) == words
