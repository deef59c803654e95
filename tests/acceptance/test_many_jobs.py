"""Thousands of jobs, as a person meets them: a question, progress, and what Ctrl-C left."""

import json
import re

from acceptance.conftest import Terminal

#: More jobs than are changed without a question.
MANY = 1_200
SUBMIT = ["submit", "--dataset", "digits", "--hidden", "8", "--batch-size", "100"]


def count_jobs(terminal: Terminal, state: str) -> int:
    jobs: int = terminal.data("status")["jobs"][state]
    return jobs


def test_on_a_terminal_many_jobs_are_submitted_cancelled_and_deleted_after_a_question(terminal):
    for answer, code, jobs in ((b"n\r", 1, 0), (b"y\r", 0, MANY)):
        screen = terminal.open_screen(*SUBMIT, "--seeds", str(MANY))
        screen.wait_for(rf"{MANY:,} new jobs will be submitted\. Go on\? \[y/N\]")
        screen.press(answer)
        assert screen.finish() == code
        assert count_jobs(terminal, "queued") == jobs

    again = terminal.open_screen(*SUBMIT, "--seeds", str(MANY))
    assert again.finish() == 0, "none of them is new"

    screen = terminal.open_screen("cancel", "s1")
    screen.wait_for(rf"{MANY:,} jobs will be cancelled\. Go on\?")
    screen.press(b"y\r")
    assert screen.finish() == 0
    assert re.search(rf"cancelled +{MANY:,}  1\.\.{MANY}", screen.text)

    screen = terminal.open_screen("delete", "2..3")
    screen.wait_for(r"2 jobs will be deleted for ever\. Go on\?")
    screen.press(b"\x03")
    assert screen.finish() == 130
    assert "Nothing was changed." in screen.text
    assert count_jobs(terminal, "cancelled") == MANY


def test_in_a_pipe_nothing_is_asked_and_what_cannot_be_undone_wants_yes(terminal):
    assert terminal.dq(*SUBMIT, "--seeds", str(MANY)).returncode == 0
    refused = terminal.dq("delete", "s1", "--yes")
    cancelled = terminal.dq("cancel", "s1")
    unsure = terminal.dq("delete", "s1")
    deleted = terminal.dq("delete", "s1", "--yes", "--json")
    shown, held = terminal.dq("show", "1"), terminal.dq("hold", "1")

    assert (refused.returncode, unsure.returncode) == (2, 2)
    assert f"Type: dq cancel 1..{MANY}" in refused.stderr
    assert len(cancelled.stdout.splitlines()) == 3
    assert "Type: dq delete s1 --yes" in unsure.stderr
    assert len(json.loads(deleted.stdout)) == MANY
    assert "There is no job 1." in shown.stderr
    assert "There is no job 1." in held.stderr


def test_ctrl_c_during_a_submit_says_what_it_left_behind_and_how_to_undo_it(terminal):
    screen = terminal.open_screen(*SUBMIT, "--seeds", "40000", "--yes")
    screen.wait_for(r"of 40,000 jobs submitted")
    screen.press(b"\x03")

    code = screen.finish()

    left = " ".join(screen.text.split())
    counts = re.search(
        r"([\d,]+) of 40,000 jobs of s1 are saved, ([\d,]+) messages? sent, and a worker sends the "
        r"rest\. For the rest type the same again\. To undo: dq cancel s1",
        left,
    )
    assert code == 130
    assert counts, left
    assert count_jobs(terminal, "queued") == int(counts[1].replace(",", ""))


def test_what_does_not_apply_to_a_known_job_is_said(terminal):
    terminal.dq(*SUBMIT, "--seeds", "3")
    raised = terminal.dq(*SUBMIT, "--seeds", "4", "--priority", "high", "--timeout", "5m")
    lowered = terminal.dq(*SUBMIT, "--seeds", "3", "--priority", "low", "--name", "late")

    assert raised.returncode == lowered.returncode == 0
    assert "nothing" not in raised.stderr
    assert "For 3 jobs with a higher priority, --priority changes nothing." in lowered.stderr
    assert "For 3 jobs of an earlier sweep, --name changes nothing." in lowered.stderr
