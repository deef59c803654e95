from dataclasses import dataclass

import pytest

from integration import rows
from integration.rows import SPEC
from models.database import Database
from models.errors import UsageError
from service.queries.jobs import list_ids
from service.queries.selectors import ids_condition, parse_selectors, resolve_selectors


@dataclass(frozen=True)
class Queue:
    """Two sweeps: jobs 1 to 3, tagged "paper" and "a:b", of which 2 failed; and jobs 4 and 5."""

    database: Database

    def select(self, *words: str) -> list[int]:
        return list_ids(self.database, parse_selectors(words))


@pytest.fixture
def queue(database: Database) -> Queue:
    rows.submit(database, SPEC, SPEC, SPEC, tags=("paper", "a:b"))
    rows.submit(database, SPEC, SPEC)
    rows.change(database, 2, state="failed")
    return Queue(database)


#: Selectors, and the jobs that they name.
SELECTED = [
    (["2"], [2]),
    (["007"], []),
    (["004"], [4]),
    (["2..4"], [2, 3, 4]),
    (["3..3"], [3]),
    (["4..999999999"], [4, 5]),
    (["4..99999999999999999999"], [4, 5]),
    (["1" * 5000], []),
    (["s1"], [1, 2, 3]),
    (["s2"], [4, 5]),
    (["s3"], []),
    (["tag:paper"], [1, 2, 3]),
    (["tag:a:b"], [1, 2, 3]),
    (["tag:pap"], []),
    (["tag:%"], []),
    (["state:failed"], [2]),
    (["state:queued"], [1, 3, 4, 5]),
    (["state:running"], []),
    (["@last"], [4, 5]),
    (["1", "5"], [1, 5]),
    (["1,5"], [1, 5]),
    (["1,2", "2..3", "s2"], [1, 2, 3, 4, 5]),
    (["1,"], [1]),
    ([], [1, 2, 3, 4, 5]),
]


def test_selectors_select_jobs(queue: Queue):
    assert [(words, queue.select(*words)) for words, _ in SELECTED] == SELECTED


@pytest.mark.parametrize(
    "word",
    ["x", "1.5", "1...2", "-1", "1-3", "s", "sweep1", "tag", "@first", "paper", "1 2", "١٤٢"],
)
def test_an_unknown_selector_is_a_usage_error(word: str):
    with pytest.raises(UsageError, match=r"names no jobs: give an id \(142\), a range"):
        parse_selectors([word])


@pytest.mark.parametrize("word", ["40..20", "9999999999..2"])
def test_a_range_that_counts_down_is_refused_with_what_to_type(word: str):
    first, last = word.split("..")

    with pytest.raises(UsageError, match=rf"holds no job: write {last}\.\.{first}"):
        parse_selectors([word])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["6"], "There is no job 6. Type: dq results"),
        (["1", "99999999999"], "There is no job 99999999999. Type: dq results"),
        (["6..9"], "There are no jobs 6..9. Type: dq results"),
        (["s3"], "There is no sweep s3. Type: dq results"),
        (["s1,tag:pap"], "No job has the tag 'pap'. Type: dq results"),
    ],
)
def test_a_job_sweep_or_tag_that_does_not_exist_is_an_error(
    queue: Queue, words: list[str], sentence: str
):
    with pytest.raises(UsageError) as raised:
        resolve_selectors(queue.database, words)

    assert str(raised.value) == sentence


def test_a_state_or_a_condition_that_no_job_meets_selects_none(queue: Queue):
    def ids(*words: str, where: str | None = None) -> list[int]:
        return list_ids(queue.database, resolve_selectors(queue.database, words, where))

    assert ids("state:running") == []
    assert ids("s1", where="lr > 99") == []
    assert ids("state:failed", "2..9") == [2, 3, 4, 5]


def test_the_last_sweep_is_an_error_before_the_first(database: Database):
    with pytest.raises(UsageError, match=r"There is no sweep yet. Type: dq submit"):
        resolve_selectors(database, ["@last"])


def test_an_unknown_state_is_a_usage_error_that_lists_the_states():
    with pytest.raises(UsageError, match=r"'done': use one of queued, running, succeeded"):
        parse_selectors(["state:done"])


@pytest.mark.parametrize("words", [[""], [","], ["", ""]])
def test_an_empty_word_does_not_select_all_jobs(words: list[str]):
    """`dq cancel "$JOBS"` with an unset variable must not cancel everything."""
    with pytest.raises(UsageError):
        parse_selectors(words)


def test_the_last_sweep_selects_no_jobs_before_the_first(database: Database):
    assert list_ids(database, parse_selectors(["@last"])) == []


@pytest.mark.parametrize("ids", [[], [3], [1, 2, 3], [5, 1], [4, 3, 5], [2, 99]])
def test_ids_select_the_jobs_of_these_ids(queue: Queue, ids: list[int]):
    selected = list_ids(queue.database, ids_condition(ids))

    assert selected == sorted({*ids} & {1, 2, 3, 4, 5})


def test_a_sweep_of_forty_thousand_ids_can_be_selected(queue: Queue):
    assert list_ids(queue.database, ids_condition(range(2, 40_000))) == [2, 3, 4, 5]
