"""What commands that change many jobs print: in a pipe, and after Ctrl-C."""

import pytest
from sqlalchemy import true

from integration import rows
from models.database import Database
from service.cli import bulk
from service.cli.bulk import BulkProgress, changing, print_changes
from service.jobs import Change


@pytest.fixture
def backend() -> str:
    return "sqlite"


def test_after_ctrl_c_it_says_how_many_jobs_are_done_and_what_to_type_for_the_rest(
    database: Database, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("sys.argv", ["dq", "cancel", "s1"])
    rows.submit(database, *[rows.spec(seed=seed) for seed in range(3)])

    def be_interrupted() -> None:
        with changing(database, true(), "cancelled", yes=False) as show:
            show(2, 3)
            raise KeyboardInterrupt

    with pytest.raises(SystemExit) as ended:
        be_interrupted()

    assert ended.value.code == 130
    assert capsys.readouterr().err == "2 of 3 jobs cancelled. For the rest type: dq cancel s1\n"


def test_in_a_pipe_progress_is_a_line_at_times_and_only_for_many_jobs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(bulk, "_LINE_SECONDS", 0.0)

    with BulkProgress("cancelled") as show:
        show(500, 1000)
        show(2000, 4000)
        show(4000, 4000)

    assert capsys.readouterr().err == "2,000 of 4,000 jobs cancelled\n"


def test_changes_of_many_jobs_are_a_line_a_kind_with_all_ids_in_a_pipe(
    capsys: pytest.CaptureFixture[str],
):
    ended = [Change(job_id, "already succeeded") for job_id in range(1, 60, 2)]
    changes = [*ended, *(Change(job_id, "cancelled") for job_id in range(60, 3000))]

    print_changes(changes, "table")

    lines = capsys.readouterr().out.splitlines()
    odd = ", ".join(str(job_id) for job_id in range(1, 60, 2))
    assert [line.split(maxsplit=2)[-1] for line in lines[2:]] == [f"30  {odd}", "60..2999"]


def test_changes_of_few_jobs_are_a_line_each(capsys: pytest.CaptureFixture[str]):
    print_changes([Change(1, "cancelled"), Change(2, "already failed")], "table")

    assert len(capsys.readouterr().out.splitlines()) == 4
