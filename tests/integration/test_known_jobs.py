from typing import Any

import pytest
from sqlalchemy import update

from integration import rows
from integration.rows import SPEC, FakeBroker
from models.database import Database
from models.message import JobMessage, Priority
from models.spec import TRAINER_VERSION, ExperimentSpec
from models.state import JobState
from models.tables import Result
from service import jobs
from service.jobs import SubmitOptions, Submitted
from service.jobs.batches import BatchSize
from service.jobs.known_jobs import KnownJob, KnownJobs, find_known, key
from service.queries.jobs import list_ids
from service.queries.selectors import ids_condition, parse_selectors
from worker.execution.recorder import AttemptUpdate, Recorder

OTHER = SPEC.model_copy(update={"seed": 1})
REUSE = SubmitOptions(reuse=True)


class NoBroker:
    """A broker through which nothing may be published."""

    def publish(self, messages: list[JobMessage]) -> None:
        raise AssertionError(f"published {messages}")


def find(database: Database, *specs: ExperimentSpec) -> dict[tuple[str, int], KnownJob]:
    with database.reading() as session:
        return find_known(session, specs)


def find_one(database: Database, spec: ExperimentSpec = SPEC) -> KnownJob | None:
    return find(database, spec).get(key(spec))


def succeed(recorder: Recorder, job_id: int, version: int = TRAINER_VERSION) -> None:
    rows.succeed(recorder, rows.claim(recorder, job_id), AttemptUpdate(rows.measured_all()))
    with recorder.database.writing() as session:
        found = update(Result).where(Result.job_id == job_id)
        session.execute(found.values(trainer_version=version))


def submit(database: Database, token: str, *specs: ExperimentSpec, **options: Any) -> Submitted:
    return jobs.submit(
        database, FakeBroker(), specs or (SPEC,), SubmitOptions(reuse=True, **options), token
    )


def test_without_jobs_nothing_is_known(database: Database):
    assert find(database, SPEC, OTHER) == {}
    assert find(database) == {}


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.RUNNING])
def test_a_job_that_will_give_the_result_is_known_as_unfinished(
    database: Database, recorder: Recorder, state: JobState
):
    job_id = rows.submit_one(database)
    if state is JobState.RUNNING:
        rows.claim(recorder, job_id)

    assert find_one(database) == KnownJob(job_id, is_finished=False)


def test_a_job_that_gave_the_result_is_known_as_finished(database: Database, recorder: Recorder):
    job_id = rows.submit_one(database)
    succeed(recorder, job_id)

    assert find_one(database) == KnownJob(job_id, is_finished=True)


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.CANCELLED])
def test_a_job_that_ended_without_a_result_is_not_known(database: Database, state: JobState):
    rows.change(database, rows.submit_one(database), state=state)

    assert find_one(database) is None


def test_a_result_of_another_version_of_the_trainer_is_not_known(
    database: Database, recorder: Recorder
):
    succeed(recorder, rows.submit_one(database), version=TRAINER_VERSION + 1)

    assert find_one(database) is None


def test_a_running_job_with_a_cancel_request_is_not_known(database: Database, recorder: Recorder):
    job_id = rows.submit_one(database)
    rows.claim(recorder, job_id)
    jobs.cancel(database, parse_selectors([str(job_id)]))

    assert find_one(database) is None


@pytest.mark.parametrize("position", [0, 1, 2])
def test_of_several_jobs_a_finished_one_is_preferred_whatever_its_id(
    database: Database, recorder: Recorder, position: int
):
    job_ids = rows.submit(database, SPEC, SPEC, SPEC)
    succeed(recorder, job_ids[position])

    assert find_one(database) == KnownJob(job_ids[position], is_finished=True)


def test_the_first_of_several_finished_ones_is_known(database: Database, recorder: Recorder):
    waits, first, second = rows.submit(database, SPEC, SPEC, SPEC)
    succeed(recorder, second)
    succeed(recorder, first)

    assert find_one(database) == KnownJob(first, is_finished=True)
    assert waits < first


def test_a_queued_job_is_known_where_the_result_is_of_another_version(
    database: Database, recorder: Recorder
):
    old, waits = rows.submit(database, SPEC, SPEC)
    succeed(recorder, old, version=TRAINER_VERSION - 1)

    assert find_one(database) == KnownJob(waits, is_finished=False)


@pytest.mark.parametrize(
    "changes",
    [{"seed": 1}, {"lr": 0.1 + 2**-56}, {"evaluation": "test"}, {"keep": (0.9,)}, {"epochs": 4}],
)
def test_a_job_that_differs_in_anything_is_another_experiment(
    database: Database, recorder: Recorder, changes: dict[str, Any]
):
    succeed(recorder, rows.submit_one(database))

    assert find_one(database, rows.spec(**changes)) is None


def test_seeds_that_are_equal_as_floats_are_different_experiments(database: Database):
    seeds = [2**53, 2**53 + 1, 2**62, 2**62 + 1, 2**63 - 1]
    specs = [rows.spec(seed=seed) for seed in seeds]
    job_ids = rows.submit(database, *specs[1:4])

    known = find(database, *specs)

    assert {key[1]: job.job_id for key, job in known.items()} == dict(
        zip(seeds[1:4], job_ids, strict=True)
    )


def test_only_the_seeds_asked_for_are_found(database: Database):
    first, _, third = rows.submit(database, *[rows.spec(seed=seed) for seed in (0, 1, 2)])

    known = find(database, rows.spec(seed=0), rows.spec(seed=2), rows.spec(seed=3))

    assert sorted(job.job_id for job in known.values()) == [first, third]


def test_more_configurations_than_one_query_takes_are_all_found(database: Database):
    specs = [rows.spec(lr=1 / (1 + n)) for n in range(1_100)]
    job_ids = rows.submit(database, *specs)

    known = find(database, *specs, SPEC.model_copy(update={"seed": 99}))

    assert [known[key(spec)].job_id for spec in specs] == job_ids
    assert len(known) == 1_100


def test_a_big_seed_is_reused_and_its_neighbour_is_run(database: Database, recorder: Recorder):
    big, neighbour = rows.spec(seed=2**62), rows.spec(seed=2**62 + 1)
    (job_id,) = rows.submit(database, big)
    succeed(recorder, job_id)

    submitted = submit(database, "token", big, neighbour)

    (created,) = submitted.created
    assert submitted.finished_before == (job_id,)
    assert rows.job(database, created).spec["seed"] == 2**62 + 1


def test_a_submit_of_known_jobs_alone_makes_a_sweep_of_them_and_publishes_none(
    database: Database, recorder: Recorder
):
    finished, waits = rows.submit(database, SPEC, OTHER)
    succeed(recorder, finished)

    submitted = jobs.submit(database, NoBroker(), [SPEC, OTHER], REUSE, "token")

    assert submitted == Submitted(2, (), (finished,), (waits,), publish_error=None)
    assert list_ids(database, parse_selectors(["s2"])) == [finished, waits]
    assert list_ids(database, parse_selectors(["@last"])) == [finished, waits]


def test_a_shared_job_is_of_its_first_sweep_and_of_each_that_shares_it(database: Database):
    first = rows.submit_one(database)

    second = submit(database, "second", SPEC, OTHER)
    third = submit(database, "third", SPEC, OTHER)

    (other,) = second.created
    assert (third.created, third.open_before) == ((), (first, other))
    assert list_ids(database, parse_selectors(["s1"])) == [first]
    assert list_ids(database, parse_selectors(["s2"])) == [first, other]
    assert list_ids(database, parse_selectors(["s3"])) == [first, other]
    assert rows.job(database, first).sweep_id == 1


def test_a_shared_job_that_finished_since_is_finished_before_for_the_next_submit(
    database: Database, recorder: Recorder
):
    job_id = rows.submit_one(database)

    joined = submit(database, "second")
    succeed(recorder, job_id)
    reused = submit(database, "third")

    assert (joined.open_before, joined.finished_before) == ((job_id,), ())
    assert (reused.open_before, reused.finished_before) == ((), (job_id,))


def test_a_failed_job_is_run_again_and_a_finished_one_is_not(
    database: Database, recorder: Recorder
):
    finished, failed = rows.submit(database, SPEC, OTHER)
    succeed(recorder, finished)
    rows.change(database, failed, state=JobState.FAILED)
    broker = FakeBroker()

    submitted = jobs.submit(database, broker, [SPEC, OTHER], REUSE, "token")

    (created,) = submitted.created
    assert (submitted.finished_before, submitted.open_before) == ((finished,), ())
    assert rows.job(database, created).spec == OTHER.model_dump(mode="json")
    assert [message.job_id for message in broker.published] == [created]
    assert list_ids(database, parse_selectors(["@last"])) == [finished, created]


def test_tags_of_a_submit_go_to_its_shared_jobs_and_to_its_new_ones(
    database: Database, recorder: Recorder
):
    finished, waits = rows.submit(database, SPEC, OTHER, tags=("old",))
    succeed(recorder, finished)
    new = rows.spec(seed=2)

    submitted = submit(database, "token", SPEC, OTHER, new, tags=("paper", "old"))

    (created,) = submitted.created
    assert list_ids(database, parse_selectors(["tag:paper"])) == [finished, waits, created]
    assert [sorted(rows.tags(database, each)) for each in (finished, waits, created)] == [
        ["old", "paper"]
    ] * 3


def test_a_submit_without_options_changes_nothing_of_a_shared_job(database: Database):
    job_id = rows.submit_one(database, name="first", max_crashes=5, priority=Priority.LOW)
    before = rows.job(database, job_id)

    submitted = submit(database, "token")

    after = rows.job(database, job_id)
    assert submitted.notes == ()
    assert {name: vars(after)[name] for name in COLUMNS} == {
        name: vars(before)[name] for name in COLUMNS
    }


#: What a person may ask for besides the spec.
ALL_OPTIONS = {
    "priority": Priority.HIGH,
    "max_crashes": 1,
    "stall_seconds": 60.0,
    "timeout_seconds": 120.0,
    "keep_checkpoint": True,
}
COLUMNS = [*ALL_OPTIONS, "name"]


def test_a_queued_job_gets_the_options_of_a_later_submit_of_its_spec(database: Database):
    job_id, broker = rows.submit_one(database), FakeBroker()

    submitted = jobs.submit(
        database, broker, [SPEC], SubmitOptions(reuse=True, **ALL_OPTIONS), "token"
    )

    job = rows.job(database, job_id)
    assert {name: vars(job)[name] for name in ALL_OPTIONS} == ALL_OPTIONS
    assert broker.published == [], "the next claim goes by the row"
    assert submitted.notes == ()


def test_options_without_effect_on_a_shared_job_are_named(database: Database, recorder: Recorder):
    done, runs, urgent = (
        rows.submit_one(database, name="first"),
        *rows.submit(database, OTHER),
        *rows.submit(database, rows.spec(seed=2), priority=Priority.HIGH),
    )
    succeed(recorder, done)
    rows.claim(recorder, runs)
    options = {**ALL_OPTIONS, "priority": Priority.NORMAL}

    specs = [SPEC, OTHER, rows.spec(seed=2)]
    submitted = submit(database, "token", *specs, name="second", **options)

    assert submitted.notes == (
        "For 1 job that finished before, --max-crashes, --stall-timeout, --timeout and "
        "--keep-checkpoint change nothing; --force runs them again.",
        "For 1 job that started before, --stall-timeout, --timeout and --keep-checkpoint "
        "change nothing.",
        "For 1 job with a higher priority, --priority changes nothing.",
        "For 3 jobs of an earlier sweep, --name changes nothing.",
    )
    assert rows.job(database, runs).max_crashes == 1
    assert not rows.job(database, runs).keep_checkpoint
    assert rows.job(database, urgent).priority == Priority.HIGH


def test_cancelling_a_sweep_cancels_the_jobs_that_it_shares(database: Database):
    job_id = rows.submit_one(database)
    submitted = submit(database, "token")

    jobs.cancel(database, parse_selectors([f"s{submitted.sweep_id}"]))

    assert rows.states(database, [job_id]) == [JobState.CANCELLED]


def test_a_large_submit_notices_what_happened_to_known_jobs_since_it_searched(database: Database):
    """A submit of several transactions looks first, and holds the lock only in each of them."""
    gone, stays = rows.submit(database, SPEC, OTHER)
    known = KnownJobs()
    known.look_ahead(database, [SPEC, OTHER, THIRD])
    jobs.cancel(database, parse_selectors([str(gone)]))
    (came,) = rows.submit(database, THIRD)
    own = rows.submit(database, THIRD)

    with database.reading() as session:
        found = known.find(
            session, [SPEC, OTHER, THIRD], excluded_sweep=rows.job(database, *own).sweep_id
        )

    assert {job.job_id for job in found.values()} == {stays, came}


THIRD = rows.spec(seed=2)


def test_a_queued_or_running_job_of_the_same_spec_is_shared(database: Database, recorder: Recorder):
    waits, runs = rows.submit(database, SPEC, OTHER)
    rows.claim(recorder, runs)

    submitted = jobs.submit(database, FakeBroker(), [SPEC, OTHER], REUSE, "token")

    assert (submitted.created, submitted.finished_before, submitted.open_before) == (
        (),
        (),
        (waits, runs),
    )
    assert list_ids(database, parse_selectors([f"s{submitted.sweep_id}"])) == [waits, runs]


def test_without_reuse_a_known_spec_is_run_again(database: Database, recorder: Recorder):
    succeed(recorder, rows.submit_one(database))

    submitted = jobs.submit(database, FakeBroker(), [SPEC], SubmitOptions(), "token")

    assert (len(submitted.created), submitted.finished_before) == (1, ())


def test_a_second_submit_with_the_same_token_shares_the_same_jobs(
    database: Database, recorder: Recorder
):
    succeed(recorder, rows.submit_one(database))
    first = jobs.submit(database, FakeBroker(), [SPEC, OTHER], REUSE, "token")

    second = jobs.submit(database, FakeBroker(), [SPEC, OTHER], REUSE, "token")

    assert second == first


def test_two_thousand_known_jobs_are_shared_at_once(database: Database):
    specs = [SPEC.model_copy(update={"lr": 1 / (1 + n)}) for n in range(2_000)]
    known = rows.submit(database, *specs)

    submitted = jobs.submit(database, FakeBroker(), specs, REUSE, "token")

    assert submitted.open_before == tuple(known)
    assert list_ids(database, ids_condition(submitted.job_ids)) == known


def test_a_spec_that_a_submit_has_twice_is_run_twice_also_in_several_transactions(
    database: Database, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("service.jobs.submission.BatchSize", lambda: BatchSize(first=1))

    submitted = submit(database, "token", SPEC, SPEC)

    assert (len(submitted.created), submitted.open_before) == (2, ())
