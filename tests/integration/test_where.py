"""The conditions of `--where` on both databases, whose JSON is not the same."""

import math
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import Select, select, text, update

from integration import rows
from integration.rows import FakeBroker
from models.database import Database
from models.message import Priority
from models.metrics import HIGHER_IS_BETTER
from models.spec import ExperimentSpec
from models.tables import Job, Result
from service import jobs
from service.queries import spec_columns
from service.queries.jobs import count_jobs, list_compared_jobs, list_curves, list_ids, list_jobs
from service.queries.pages import PageRequest, parse_sort, read_page
from service.queries.where import parse_where

#: SQLite is for some thousands of jobs, which it reads whole.
on_postgresql = pytest.mark.parametrize("backend", ["postgresql"])
HOSTILE = "x'; DROP TABLE jobs; --"


@dataclass(frozen=True)
class Queue:
    """Three sweeps: job 1, without dropout; jobs 2 and 3, which succeeded; and job 4, failed."""

    database: Database

    def select(self, text: str) -> list[int]:
        return list_ids(self.database, parse_where(text))


@pytest.fixture
def queue(database: Database) -> Queue:
    rows.submit(database, rows.spec(lr=0.1, seed=2**63 - 1, train_size=1000))
    rows.submit(
        database,
        rows.spec(hidden=(512,) * 3, keep=(0.9, 0.8, 0.8), lr=0.05, seed=2**53, momentum=0.95),
        rows.spec(hidden=(512, 256), lr=1e-05, seed=2**53 + 1, max_norm=3.5, mask="sample"),
        name="my run",
        tags=("paper", HOSTILE),
        priority=Priority.HIGH,
    )
    rows.submit(
        database,
        rows.spec(dataset="mnist", keep=(0.9,), lr=0.1 + 0.2, epochs=10, evaluation="test"),
        name=HOSTILE,
    )
    succeed(database, 2, valid_accuracy=0.985, valid_loss=0.1, seconds=60.0)
    succeed(database, 3, valid_accuracy=0.95, valid_loss=5e-324, seconds=1e5)
    rows.change(database, 4, state="failed", epochs_done=7, attempt=3)
    return Queue(database)


def succeed(database: Database, job_id: int, **figures: float) -> None:
    all_figures = {**dict.fromkeys(HIGHER_IS_BETTER, 0.5), **figures}
    with database.writing() as session:
        session.add(Result(job_id=job_id, attempt=1, trainer_version=1, **all_figures))
    rows.change(database, job_id, state="succeeded", epochs_done=3, attempt=1)


#: Each condition, and the jobs that meet it.
SELECTED = {
    "dataset == digits": [1, 2, 3],
    "dataset in (mnist, fashion-mnist)": [4],
    "train_size == none": [2, 3, 4],
    "train_size != none and train_size < 1001": [1],
    "train_size != 500": [1, 2, 3, 4],
    "hidden == (512, 512, 512)": [2],
    "hidden == 512x3": [2],
    "hidden == 512x2": [],
    "hidden == 512x4": [],
    "hidden != 512x3": [1, 3, 4],
    "hidden in (512x3, (512, 256))": [2, 3],
    "hidden[0] == 512 and hidden[1] < 512": [3],
    "layers == 3": [2],
    "layers < 2": [1, 4],
    "keep == none": [1, 3],
    "keep != none": [2, 4],
    "not keep in (none, (0.9))": [2],
    "keep == 0.9,0.8,0.8": [2],
    "keep[0] == 0.9": [2, 4],
    "keep[1] <= 1": [2, 3],
    "lr == 0.1": [1],
    "lr == 0.3": [],
    "lr == 0.30000000000000004": [4],
    "0.00001 <= lr < 0.1": [2, 3],
    "batch_size == 100": [1, 2, 3, 4],
    "epochs >= 10": [4],
    f"seed == {2**53 + 1}": [3],
    f"seed >= {2**63 - 1}": [1],
    "input_keep == 1": [1, 2, 3, 4],
    "mask == sample": [3],
    "momentum > 0.9": [2],
    "max_norm > 3": [3],
    "not max_norm > 3": [],
    "max_norm == none": [1, 2, 4],
    "lr_decay != 1": [],
    "evaluation == test": [4],
    "id in (2, 3, 99)": [2, 3],
    f"id < {2**62}": [1, 2, 3, 4],
    "sweep == s2": [2, 3],
    "sweep != 2": [1, 4],
    "state == failed": [4],
    "state in (queued, failed)": [1, 4],
    "name == 'my run'": [2, 3],
    "name != 'my run'": [1, 4],
    "name == none": [1],
    "tag == paper": [2, 3],
    "tag != paper": [1, 4],
    "tag == none": [1, 4],
    "epochs_done >= 3": [2, 3, 4],
    "attempt == 3": [4],
    "priority == high": [2, 3],
    f"priority < {10**9}": [1, 2, 3, 4],
    "valid_acc > 0.98": [2],
    "valid_accuracy <= 0.985": [2, 3],
    "not valid_acc > 0.98": [3],
    "valid_loss == 5e-324": [3],
    "train_acc == 0.5 and train_loss == 0.5": [2, 3],
    "30 < seconds < 3600": [2],
    "valid_acc > 0.98 or state == failed": [2, 4],
    "not (valid_acc > 0.98 or tag == paper)": [],
    "lr < 0.07 and keep[0] == 0.9 and valid_acc > 0.98": [2],
    "not (seed >= 5 or state == failed)": [],
}


def test_conditions_select_jobs(queue: Queue):
    assert {text: queue.select(text) for text in SELECTED} == SELECTED


@pytest.mark.parametrize(
    "lr", [5e-324, 1e-7, 0.1 + 0.7, 2 / 3, 123456.789e3, 1.7976931348623157e308]
)
def test_floats_are_compared_to_the_last_bit(database: Database, lr: float):
    rows.submit(database, rows.spec(lr=lr))
    queue = Queue(database)

    assert queue.select(f"lr == {lr!r}") == [1]
    assert queue.select(f"lr == {math.nextafter(lr, 1)!r}") == []
    assert queue.select(f"lr > {math.nextafter(lr, 0)!r}") == [1]


@on_postgresql
@pytest.mark.parametrize(
    "name", [name for name in ExperimentSpec.model_fields if name not in {"hidden", "keep"}]
)
def test_jobs_are_found_and_sorted_by_an_index_on_each_field_of_one_value(
    database: Database, name: str
):
    words = {"dataset": "mnist", "mask": "sample", "evaluation": "test", "precision": "bf16"}
    value = words.get(name, 1)

    found = explain(database, select(Job.id).where(parse_where(f"{name} == {value}")))
    in_order = explain(database, select(Job.id).order_by(spec_columns.column(name), Job.id))

    assert f"using ix_jobs_spec_{name}" in found
    assert "Index Cond" in found
    assert f"using ix_jobs_spec_{name}" in in_order
    assert "Sort" not in in_order


@on_postgresql
@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("layers == 2", "layers"),
        ("keep[0] == 0.3", "keep_0"),
        ("keep[2] < 0.3", "keep_2"),
        ("hidden[1] > 3", "hidden_1"),
        ("hidden == 77x1", "hidden_0"),
    ],
)
def test_the_first_layers_and_their_number_have_an_index(database: Database, text: str, index: str):
    plan = explain(database, select(Job.id).where(parse_where(text)))

    assert f"ix_jobs_spec_{index}" in plan
    assert "Index Cond" in plan


def explain(database: Database, query: Select[int]) -> str:
    """Return PostgreSQL's plan where it may not read the whole table, nor use a bitmap."""
    with database.reading() as session:
        connection = session.connection()
        for setting in ("enable_seqscan", "enable_bitmapscan"):
            connection.execute(text(f"SET LOCAL {setting} = off"))
        statement = query.compile(database.engine, compile_kwargs={"literal_binds": True})
        return "\n".join(connection.execute(text(f"EXPLAIN {statement}")).scalars())


def test_a_job_older_than_a_field_has_its_default(queue: Queue):
    old = rows.SPEC.model_dump(mode="json")
    for name in ("momentum", "max_norm", "mask"):
        del old[name]
    rows.change(queue.database, 1, spec=old)

    assert queue.select("momentum == 0 and max_norm == none and mask == batch") == [1, 4]


@pytest.mark.parametrize(
    "text",
    [
        "name == '{}'",
        "tag == '{}'",
        "not (tag in (a, '{}') or name != '{}')",
        "'{}' == name",
    ],
)
@pytest.mark.parametrize(
    "hostile", [HOSTILE, 'y" OR "1" = "1', "\\'; DELETE FROM jobs", "%(id)s :id ? $1", "{0, 1}"]
)
def test_text_is_compared_and_never_executed(queue: Queue, text: str, hostile: str):
    before = rows.everything(queue.database)
    escaped = hostile.replace("'", "''")

    selected = queue.select(text.replace("{}", escaped))

    assert set(selected) <= ({2, 3, 4} if hostile == HOSTILE else set())
    assert rows.everything(queue.database) == before


def test_hostile_text_is_found_where_it_was_stored(queue: Queue):
    escaped = HOSTILE.replace("'", "''")

    assert queue.select(f"name == '{escaped}'") == [4]
    assert queue.select(f"tag == '{escaped}'") == [2, 3]


@pytest.mark.parametrize(
    ("text", "selected"),
    [
        ("(" * 20 + "id == 1" + ")" * 20, [1]),
        ("not (id != 1 or " * 20 + "id == 1" + ")" * 20, [1]),
        (" or ".join(["valid_acc > 0.98"] * 300), [2]),
        ("not (" * 20 + " and ".join(["seed > 9"] * 300) + ")" * 20, [1, 2, 3]),
        (f"hidden in ({','.join(['512x100'] * 2)}, 512x3)", [2]),
    ],
)
def test_the_largest_conditions_are_accepted(queue: Queue, text: str, selected: list[int]):
    assert queue.select(text) == selected


@pytest.mark.parametrize("text", ["valid_acc > 0.9 and tag == paper and keep == none", "id == 3"])
def test_a_condition_fits_every_query(queue: Queue, text: str):
    database, which = queue.database, parse_where(text)
    by_metric = PageRequest(parse_sort("valid_acc"), 50)

    found: list[Any] = [
        [run.job_id for run in list_compared_jobs(database, which)],
        [job.job_id for job in list_jobs(database, which)],
        [job.job_id for job in read_page(database, which, by_metric).rows],
        [curve.job_id for curve in list_curves(database, which)],
        [change.job_id for change in jobs.cancel(database, which)],
        [change.job_id for change in jobs.retry(database, FakeBroker(), which, from_scratch=False)],
    ]

    assert found == [[3]] * len(found)
    assert count_jobs(database, which) == 1


def test_a_condition_selects_the_rows_of_an_update(queue: Queue):
    with queue.database.writing() as session:
        session.execute(update(Job).where(parse_where("valid_acc > 0.98")).values(reason="good"))

    reasons = [rows.job(queue.database, job_id).reason for job_id in (1, 2, 3, 4)]
    assert reasons == [None, "good", None, None]
