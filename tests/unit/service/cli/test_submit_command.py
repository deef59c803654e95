"""What `dq submit` says besides, on a machine where dq was never used."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

NOTEBOOK = ["submit", "--dropout", "0.9,0.8,0.8"]


@pytest.mark.parametrize("more", [["--dry-run"], []])
def test_every_submit_says_about_how_long_it_takes(dq: Callable[..., Result], more: list[str]):
    done = dq(*NOTEBOOK, *more)

    assert done.exit_code == 0
    assert re.search(r"^About [\d.]+ (s|min|h|days) on 1 worker, going by ", done.stderr, re.M)


def test_a_dry_run_makes_no_database(dq: Callable[..., Result], home: Path):
    dq(*NOTEBOOK, "--dry-run")

    assert not home.exists()


def test_status_says_how_long_all_takes_and_nothing_of_it_where_nothing_is_queued(
    dq: Callable[..., Result],
):
    before = dq("status")
    dq(*NOTEBOOK)
    after = dq("status")

    assert "About" not in before.stderr
    assert "All that is queued or runs: About " in after.stderr
