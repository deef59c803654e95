"""What `dq submit` and `dq status` estimate where dq was never used."""

import re
from collections.abc import Callable

import pytest
from click.testing import Result

NOTEBOOK = ["submit", "--dropout", "0.9,0.8,0.8"]


@pytest.mark.parametrize("more", [["--dry-run"], []])
def test_every_submit_says_about_how_long_it_takes(dq: Callable[..., Result], more: list[str]):
    done = dq(*NOTEBOOK, *more)

    assert done.exit_code == 0
    assert re.search(r"^About [\d.]+ (s|min|h|days) on 1 worker, going by ", done.stderr, re.M)


def test_status_says_how_long_all_jobs_take_if_any_are_queued(
    dq: Callable[..., Result],
):
    before = dq("status")
    dq(*NOTEBOOK)
    after = dq("status")

    assert "About" not in before.stderr
    assert "All that is queued or runs: About " in after.stderr
