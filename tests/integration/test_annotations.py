import pytest

from integration import rows
from integration.rows import SPEC
from models.database import Database
from models.errors import UsageError
from service.jobs.annotations import add_tags, remove_tags, write_note
from service.queries.selectors import ids_condition


def test_tags_are_added_to_the_selected_jobs_alone(database: Database):
    first, second, other = rows.submit(database, SPEC, SPEC, SPEC, tags=("old",))

    count = add_tags(database, ids_condition([first, second]), ["new", "old"])

    assert count == 2
    assert sorted(rows.tags(database, first)) == ["new", "old"]
    assert sorted(rows.tags(database, second)) == ["new", "old"]
    assert rows.tags(database, other) == ["old"]


def test_tags_are_removed_from_the_selected_jobs_alone(database: Database):
    first, other = rows.submit(database, SPEC, SPEC, tags=("a", "b"))

    count = remove_tags(database, ids_condition([first]), ["a", "never there"])

    assert count == 1
    assert rows.tags(database, first) == ["b"]
    assert sorted(rows.tags(database, other)) == ["a", "b"]


@pytest.mark.parametrize("tag", ["", "a,b", "x" * 101, "a\nb", "a\x00b", "a\udc80b"])
def test_a_tag_that_could_not_be_selected_is_refused(database: Database, tag: str):
    job_id = rows.submit_one(database)

    with pytest.raises(UsageError):
        add_tags(database, ids_condition([job_id]), [tag])

    assert rows.tags(database, job_id) == []


def test_a_note_replaces_the_one_before(database: Database):
    job_id = rows.submit_one(database)
    write_note(database, ids_condition([job_id]), "first")

    count = write_note(database, ids_condition([job_id]), "second")

    assert count == 1
    assert rows.job(database, job_id).note == "second"


def test_an_empty_note_removes_the_note(database: Database):
    job_id = rows.submit_one(database)
    write_note(database, ids_condition([job_id]), "first")

    write_note(database, ids_condition([job_id]), "")

    assert rows.job(database, job_id).note is None


@pytest.mark.parametrize("text", ["x" * 10_001, "a\x00b", "a\udc80b"])
def test_a_note_that_sql_could_not_hold_is_refused(database: Database, text: str):
    job_id = rows.submit_one(database)

    with pytest.raises(UsageError):
        write_note(database, ids_condition([job_id]), text)

    assert rows.job(database, job_id).note is None


@pytest.mark.parametrize("name", ["x" * 201, "a\x00b", "a\udc80b"])
def test_a_name_that_sql_could_not_hold_is_refused(database: Database, name: str):
    before = rows.everything(database)

    with pytest.raises(UsageError):
        rows.submit(database, SPEC, name=name)

    assert rows.everything(database) == before
