"""Pages of jobs, at any epoch, on both databases, which sort NULLs differently."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, true

from integration import rows
from models.database import Database
from models.errors import UsageError
from models.metrics import EPOCH_METRICS, HIGHER_IS_BETTER, EpochMetrics
from models.spec import ExperimentSpec
from models.tables import Epoch, Job, Result
from servers import delete_rows
from service.queries.epoch_choice import FINAL, EpochChoice, parse_epoch_choice
from service.queries.pages import Page, PageRequest, Sort, parse_sort, read_page
from service.queries.rows import JobRow
from service.queries.selectors import parse_selectors
from worker.execution.recorder import AttemptUpdate, Recorder

ALL = true()
SPEC_FIELDS = ("dataset", "train_size", "lr", "batch_size", "epochs", "seed")
FIELDS = ("id", *SPEC_FIELDS, *HIGHER_IS_BETTER)
#: Those of them that go with every epoch choice.
PAGED = tuple(name for name in FIELDS if name != "seconds")
DIRECTIONS = ("asc", "desc")
#: Seeds that no float can tell apart.
LIKE_SEEDS = (2**53 + 1, 2**53, 2**63 - 1, 2**63 - 2, 2**53 + 2)
#: Two floats that %g would write alike, and others that have no short decimal.
LIKE_FLOATS = (0.1 + 0.2, 0.3, 1 / 3, 5e-324, 1e300, 0.9999999999999999)
#: Figures that tie, as accuracies on few images do.
FIGURES = st.sampled_from([0.1, 0.2, 0.30000000000000004, 0.3, 1 / 3]) | st.floats(0, 1e3)


@dataclass(frozen=True)
class Past:
    """A job as it is to be stored: its spec, its epochs, and whether it succeeded with the last."""

    spec: ExperimentSpec
    epochs: tuple[EpochMetrics, ...] = ()
    is_done: bool = False

    def figure(self, field: str, epoch_choice: EpochChoice) -> Any:
        """Return by what the job is sorted; None if it has no such metric."""
        if field not in HIGHER_IS_BETTER:
            return getattr(self.spec, field)
        if epoch_choice.is_final and not self.is_done:
            return None
        if field == "seconds":
            return sum(epoch.seconds for epoch in self.epochs)
        epoch = self._epoch(epoch_choice)
        return getattr(epoch, field) if epoch else None

    def _epoch(self, epoch_choice: EpochChoice) -> EpochMetrics | None:
        if epoch_choice.metric:
            sign = -1 if HIGHER_IS_BETTER[epoch_choice.metric] else 1
            return min(
                self.epochs,
                key=lambda each: (sign * getattr(each, epoch_choice.metric), each.epoch),
                default=None,
            )
        number = epoch_choice.epoch or len(self.epochs)
        return next((each for each in self.epochs if each.epoch == number), None)


def store(database: Database, pasts: Sequence[Past]) -> list[int]:
    """Store the jobs with their epochs and results; return their ids, in the same order."""
    job_ids = rows.submit(database, *[past.spec for past in pasts])
    by_id = dict(zip(job_ids, pasts, strict=True))
    epochs = [
        {"job_id": job_id, "attempt": 1, **vars(epoch)}
        for job_id, past in by_id.items()
        for epoch in past.epochs
    ]
    with database.writing() as session:
        if epochs:
            session.execute(insert(Epoch), epochs)
        for job_id, past in by_id.items():
            job = session.get_one(Job, job_id)
            job.epochs_done = len(past.epochs)
            if past.is_done:
                job.state = "succeeded"
                figures = {name: past.figure(name, FINAL) for name in HIGHER_IS_BETTER}
                session.add(Result(job_id=job_id, attempt=1, trainer_version=1, **figures))
    return job_ids


def epoch(number: int, figure: float = 0.5, **metrics: float) -> EpochMetrics:
    figures = dict.fromkeys((*EPOCH_METRICS, "seconds"), figure)
    return EpochMetrics(epoch=number, **{**figures, **metrics})


def done(figure: float, **changes: Any) -> Past:
    """Return a job that succeeded, of whose every metric this is the figure."""
    return Past(rows.spec(epochs=1, **changes), (epoch(1, figure),), is_done=True)


def turn_pages(
    database: Database, sort: Sort, limit: int, epoch_choice: EpochChoice = FINAL, at_most: int = 60
) -> list[JobRow]:
    """Return the jobs of all pages, following each page's word on where the next begins."""
    found: list[JobRow] = []
    after: str | None = None
    for _ in range(at_most):
        page = read_page(database, ALL, PageRequest(sort, limit, epoch_choice, after))
        found += page.rows
        if page.next is None:
            return found
        assert len(page.rows) == limit, "only the last page is not full"
        after = page.next
    raise AssertionError(f"there is no end to the pages: {found}")


def ids(page: Page | Sequence[JobRow]) -> list[int]:
    return [row.job_id for row in (page.rows if isinstance(page, Page) else page)]


def expect(pasts: dict[int, Past], sort: Sort, epoch_choice: EpochChoice = FINAL) -> list[int]:
    """Return the ids as Python sorts them, without the jobs that lack the metric."""
    figures = {
        job_id: job_id if sort.field == "id" else past.figure(sort.field, epoch_choice)
        for job_id, past in pasts.items()
    }
    if sort.is_metric:
        figures = {job_id: figure for job_id, figure in figures.items() if figure is not None}
    return sorted(figures, key=lambda job_id: (figures[job_id], job_id), reverse=sort.is_descending)


#: Jobs with ties in every field, and with every state of having metrics.
MIXED = [
    done(0.3, lr=0.3, seed=5, batch_size=50, train_size=500),
    done(0.1 + 0.2, lr=0.1 + 0.2, seed=5, batch_size=100, train_size=600),
    done(0.3, lr=0.3, seed=2**53, batch_size=100, train_size=500),
    Past(rows.spec(lr=1e-7, seed=1, train_size=600, epochs=7), (epoch(1), epoch(2))),
    Past(rows.spec(lr=1e-7, seed=2**62, train_size=500, dataset="mnist", batch_size=100)),
    done(1 / 3, lr=1 / 3, seed=0, train_size=1000, dataset="fashion-mnist"),
    done(0.3, lr=0.3, seed=5, batch_size=100, train_size=700),
]


@pytest.mark.parametrize(("field", "direction"), [*product(FIELDS, DIRECTIONS)])
def test_jobs_are_sorted_by_any_field_and_then_by_id_on_pages_of_any_size(
    database: Database, field: str, direction: str
):
    pasts = dict(zip(store(database, MIXED), MIXED, strict=True))
    sort = parse_sort(f"{field}:{direction}")

    page = read_page(database, ALL, PageRequest(sort))

    assert ids(page) == expect(pasts, sort)
    assert page.next is None
    for limit in (1, 2, 3):
        assert ids(turn_pages(database, sort, limit)) == expect(pasts, sort)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_jobs_of_all_training_images_and_of_fewer_are_each_on_one_page(
    database: Database, direction: str
):
    sizes = [None, 500, None, 200, 500, None]
    job_ids = store(database, [Past(rows.spec(train_size=size)) for size in sizes])
    sort = parse_sort(f"train_size:{direction}")

    found = turn_pages(database, sort, limit=2)

    assert sorted(ids(found)) == job_ids


def test_seeds_that_no_float_can_tell_apart_are_sorted_exactly(database: Database):
    store(database, [Past(rows.spec(seed=seed)) for seed in LIKE_SEEDS])

    for limit, direction in product((1, 2, 9), DIRECTIONS):
        found = turn_pages(database, parse_sort(f"seed:{direction}"), limit, at_most=10)

        in_order = sorted(LIKE_SEEDS, reverse=direction == "desc")
        assert [row.spec.seed for row in found] == in_order


@pytest.mark.parametrize("field", ["lr", "valid_loss"])
def test_the_cursor_distinguishes_floats_that_look_alike(database: Database, field: str):
    store(database, [done(figure, lr=figure) for figure in LIKE_FLOATS * 2])

    found = turn_pages(database, parse_sort(f"{field}:asc"), limit=1)

    figures = [row.spec.lr if field == "lr" else row.metrics[field] for row in found]
    assert figures == sorted(LIKE_FLOATS * 2)


@st.composite
def some_pasts(draw: Callable[..., Any]) -> list[Past]:
    def one() -> Past:
        count = draw(st.integers(0, 3))
        spec = rows.spec(
            epochs=max(1, count) + draw(st.integers(0, 1)),
            dataset=draw(st.sampled_from(["digits", "mnist"])),
            lr=draw(st.sampled_from([0.1, 0.2, 0.1 + 0.2]) | st.floats(1e-300, 1e300)),
            batch_size=draw(st.integers(100, 102)),
            seed=draw(st.integers(0, 2) | st.integers(0, 2**53)),
            train_size=draw(st.integers(200, 203)),
        )
        epochs = [EpochMetrics(n, *[draw(FIGURES) for _ in range(5)]) for n in range(1, count + 1)]
        return Past(spec, tuple(epochs), is_done=0 < count == spec.epochs)

    return [one() for _ in range(draw(st.integers(0, 9)))]


EPOCH_CHOICES = st.sampled_from(
    [
        FINAL,
        EpochChoice(epoch=1),
        EpochChoice(epoch=2),
        *[EpochChoice(metric=name) for name in EPOCH_METRICS],
    ]
)


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)
@given(
    pasts=some_pasts(),
    sort=st.builds(Sort, st.sampled_from(PAGED), st.booleans()),
    epoch_choice=EPOCH_CHOICES,
    limit=st.integers(1, 4),
)
def test_each_job_is_on_one_page_in_every_order_and_at_every_epoch(
    database: Database,
    pasts: list[Past],
    sort: Sort,
    epoch_choice: EpochChoice,
    limit: int,
):
    delete_rows(database)
    by_id = dict(zip(store(database, pasts), pasts, strict=True)) if pasts else {}

    found = turn_pages(database, sort, limit, epoch_choice)

    assert ids(found) == expect(by_id, sort, epoch_choice)
    shown = {row.job_id: row.metrics.get("valid_loss") for row in found}
    if not epoch_choice.is_final:
        assert shown == {
            job_id: by_id[job_id].figure("valid_loss", epoch_choice) for job_id in shown
        }


def test_the_newest_jobs_come_first_by_default(database: Database):
    job_ids = store(database, MIXED)

    page = read_page(database, ALL, PageRequest())

    assert ids(page) == job_ids[::-1]
    assert page.next is None


def test_a_page_that_holds_all_jobs_exactly_is_the_last(database: Database):
    store(database, [done(0.1), done(0.2), done(0.3)])
    best = parse_sort("valid_acc")

    three = read_page(database, ALL, PageRequest(best, limit=3))
    two = read_page(database, ALL, PageRequest(best, limit=2))

    assert (len(three.rows), three.next) == (3, None)
    assert (len(two.rows), bool(two.next)) == (2, True)


def test_a_page_after_the_last_job_is_empty(database: Database):
    store(database, [done(0.1), done(0.2)])

    page = read_page(database, ALL, PageRequest(Sort(), after="1"))

    assert page == Page((), None)


def test_pages_hold_only_the_selected_jobs(database: Database):
    store(database, [done(figure) for figure in (0.1, 0.2, 0.3, 0.4, 0.5)])
    odd = parse_selectors(["1", "3", "5"])
    best = parse_sort("valid_acc")

    first = read_page(database, odd, PageRequest(best, limit=2))
    second = read_page(database, odd, PageRequest(best, limit=2, after=first.next))

    assert (ids(first), ids(second), second.next) == ([5, 3], [1], None)


def test_a_new_job_moves_no_other_to_another_page(database: Database):
    store(database, [done(0.1), done(0.2), done(0.3)])
    first = read_page(database, ALL, PageRequest(limit=2))

    store(database, [done(0.4)])
    second = read_page(database, ALL, PageRequest(limit=2, after=first.next))

    assert (ids(first), ids(second)) == ([3, 2], [1])


@pytest.mark.parametrize(
    ("text", "sort"),
    [
        ("id", Sort("id", is_descending=True)),
        ("id:asc", Sort("id", is_descending=False)),
        ("lr", Sort("lr", is_descending=True)),
        ("dataset:asc", Sort("dataset", is_descending=False)),
        ("valid_acc", Sort("valid_accuracy", is_descending=True)),
        ("train_accuracy:asc", Sort("train_accuracy", is_descending=False)),
        ("valid_loss", Sort("valid_loss", is_descending=False)),
        ("seconds", Sort("seconds", is_descending=False)),
        ("train_loss:desc", Sort("train_loss", is_descending=True)),
    ],
)
def test_a_metric_is_sorted_from_its_best_value_and_all_else_from_the_highest(
    text: str, sort: Sort
):
    assert parse_sort(text) == sort


@pytest.mark.parametrize("text", ["", "keep", "hidden", "acc", "lr:up", "lr:asc:asc", "ID", ":asc"])
def test_an_unknown_sort_is_refused_with_the_known_ones(text: str):
    with pytest.raises(UsageError) as refusal:
        parse_sort(text)

    assert str(refusal.value).startswith(f"--sort {text}: give one of ")
    assert all(field in str(refusal.value) for field in FIELDS)


def test_jobs_are_sorted_by_seconds_at_the_final_epoch_only():
    with pytest.raises(UsageError, match="--sort seconds works with --at final only"):
        PageRequest(parse_sort("seconds"), epoch_choice=EpochChoice(epoch=1))


@pytest.mark.parametrize(
    ("field", "after"),
    [
        ("id", "x"),
        ("id", "1.5"),
        ("id", "1,x"),
        ("id", "0.1,2"),
        ("lr", "0.1"),
        ("lr", "x,1"),
        ("lr", "0.1,x"),
        ("lr", ",1"),
        ("lr", "None,1"),
        ("seed", "1.5,1"),
        ("valid_accuracy", "1"),
        ("valid_accuracy", "high,1"),
        ("dataset", "digits"),
        ("dataset", "digits,"),
        ("lr", "nan,1"),
        ("valid_loss", "inf,1"),
        ("id", "9" * 30),
        ("id", "9" * 5000),
        ("lr", "0.1," + "9" * 30),
        ("seed", "9" * 30 + ",1"),
        ("dataset", "dig\0its,1"),
        ("dataset", "dig\udc80its,1"),
    ],
    ids=lambda value: ascii(value[:20]),
)
def test_a_cursor_that_no_page_gave_is_refused(database: Database, field: str, after: str):
    store(database, [done(0.1), done(0.2)])

    with pytest.raises(UsageError, match="give the value that the page before printed"):
        read_page(database, ALL, PageRequest(parse_sort(field), after=after))


def test_jobs_without_a_metric_are_left_out_when_it_sorts(database: Database):
    succeeded, _, _ = store(
        database,
        [done(0.5), Past(rows.spec(), (epoch(1, 0.9),)), Past(rows.spec())],
    )

    by_metric = read_page(database, ALL, PageRequest(parse_sort("valid_acc")))
    by_field = read_page(database, ALL, PageRequest(parse_sort("lr")))

    assert ids(by_metric) == [succeeded]
    assert len(by_field.rows) == 3


def finish(database: Database, recorder: Recorder, *epochs: EpochMetrics) -> int:
    """Run a job of these epochs to its end."""
    (job_id,) = rows.submit(database, rows.spec(epochs=len(epochs)))
    rows.succeed(recorder, rows.claim(recorder, job_id), AttemptUpdate(epochs))
    return job_id


def look(database: Database, job_id: int, epoch_choice: str) -> JobRow:
    (row,) = read_page(
        database,
        parse_selectors([str(job_id)]),
        PageRequest(epoch_choice=parse_epoch_choice(epoch_choice)),
    ).rows
    return row


#: The best loss is that of epoch 2, the best accuracy that of epochs 1 and 3, the worst that of 2.
THREE_EPOCHS = (
    epoch(1, valid_loss=0.9, valid_accuracy=0.8, train_loss=3.0),
    epoch(2, valid_loss=0.2, valid_accuracy=0.5, train_loss=1.0),
    epoch(3, valid_loss=0.2, valid_accuracy=0.8, train_loss=1.0),
)


@pytest.mark.parametrize(
    ("epoch_choice", "number"),
    [
        ("final", 3),
        ("epoch:1", 1),
        ("epoch:2", 2),
        ("best:valid_acc", 1),
        ("best:valid_loss", 2),
        ("best:train_loss", 2),
        ("best:train_accuracy", 1),
    ],
)
def test_metrics_are_those_of_the_chosen_epoch_and_the_first_of_equally_good_ones(
    database: Database, recorder: Recorder, epoch_choice: str, number: int
):
    marked = [replace(each, train_accuracy=0.5) for each in THREE_EPOCHS]
    job_id = finish(database, recorder, *marked)

    row = look(database, job_id, epoch_choice)

    expected = vars(marked[number - 1])
    assert row.metrics == {name: expected[name] for name in EPOCH_METRICS}


def test_a_job_before_the_chosen_epoch_has_no_metrics(database: Database, recorder: Recorder):
    short = finish(database, recorder, epoch(1, 0.25))
    long = finish(database, recorder, *THREE_EPOCHS)
    at_two = parse_epoch_choice("epoch:2")

    by_id = read_page(database, ALL, PageRequest(epoch_choice=at_two))
    by_metric = read_page(database, ALL, PageRequest(parse_sort("valid_loss"), epoch_choice=at_two))

    assert {row.job_id: bool(row.metrics) for row in by_id.rows} == {short: False, long: True}
    assert ids(by_metric) == [long]


def test_a_running_job_has_a_last_a_best_and_a_numbered_epoch(
    database: Database, recorder: Recorder
):
    (job_id,) = rows.submit(database, rows.spec(epochs=9))
    rows.record(recorder, rows.claim(recorder, job_id), AttemptUpdate(THREE_EPOCHS))

    looks = {
        epoch_choice: look(database, job_id, epoch_choice).metrics["valid_loss"]
        for epoch_choice in ("final", "best:valid_loss", "epoch:1")
    }

    assert looks == {"final": 0.2, "best:valid_loss": 0.2, "epoch:1": 0.9}


def test_jobs_are_sorted_by_the_metrics_of_the_chosen_epoch(database: Database, recorder: Recorder):
    early = finish(database, recorder, epoch(1, valid_loss=0.1), epoch(2, valid_loss=0.9))
    late = finish(database, recorder, epoch(1, valid_loss=0.8), epoch(2, valid_loss=0.2))
    by_loss = parse_sort("valid_loss")

    orders = {
        epoch_choice: ids(
            read_page(
                database, ALL, PageRequest(by_loss, epoch_choice=parse_epoch_choice(epoch_choice))
            )
        )
        for epoch_choice in ("final", "best:valid_loss", "epoch:1")
    }

    assert orders == {
        "final": [late, early],
        "best:valid_loss": [early, late],
        "epoch:1": [early, late],
    }
