"""What people may type or store, and what must not come of it."""

import json
import os

import pytest

from acceptance.conftest import COLOURLESS

ESCAPES = "\x1b[2J\x1b]0;owned\x07red\x9b31m"
OUTSIDE = "../../../../tmp/dq-was-here"


@pytest.mark.parametrize(
    "words",
    [
        ["results"],
        ["results", "--format", "csv"],
        ["results", "--format", "json"],
        ["results", "--format", "md"],
        ["show", "1"],
        ["logs", "1"],
        ["status"],
    ],
    ids=" ".join,
)
def test_escapes_in_a_name_and_a_note_reach_no_terminal(terminal, words):
    terminal.submit("--name", f"name{ESCAPES}")
    terminal.dq("note", "1", f"note{ESCAPES}")

    screen = terminal.open_screen(*words, kind=COLOURLESS)

    assert screen.finish() == 0
    assert not set("\x1b\x07\x9b") & set(screen.written.decode())
    assert screen.text.strip()


def test_programs_get_a_name_as_it_was_typed(terminal):
    terminal.submit("--name", f"name{ESCAPES}")

    assert terminal.data("show", "1")["name"] == f"name{ESCAPES}"


@pytest.mark.parametrize("tag", [ESCAPES, "two\nlines", "a,b", "", "x" * 101])
def test_a_tag_that_could_not_be_typed_again_is_refused(terminal, tag):
    terminal.submit()

    done = terminal.dq("tag", "1", tag)

    assert done.returncode == 2
    assert "\x1b" not in done.stderr
    assert terminal.data("show", "1")["tags"] == []


@pytest.mark.parametrize(
    "words",
    [
        ["submit", "--name", "x" * 201],
        ["note", "1", "x" * 10_001],
        ["submit", "--hidden", "9" * 400],
        ["submit", "--hidden", "1000000000x3"],
        ["submit", "--seeds", "9" * 30],
        ["submit", "--epochs", "9" * 30],
        ["submit", "--lr", "9" * 400],
        ["results", "9" * 40],
        ["results", "--where", "lr == 1 or " * 5_000 + "lr == 2"],
        ["results", "--top", "9" * 40],
        ["show", "9" * 40],
        ["diff", "1", "9" * 40],
    ],
    ids=lambda words: " ".join(words)[:30],
)
def test_a_value_too_long_or_too_large_to_mean_anything_is_a_short_usage_error(terminal, words):
    terminal.submit()

    done = terminal.dq(*words)

    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr) < 4_000


@pytest.mark.parametrize(
    "words",
    [
        ["results", "tag:' OR 1=1 --"],
        ["results", "--where", 'name == "x\'; DROP TABLE jobs; --"'],
        ["results", "--where", "1=1; DROP TABLE jobs"],
        ["results", "--where", "tag == \"' OR '1'='1\""],
        ["results", "--sort", "id; DROP TABLE jobs"],
        ["results", "--cols", "id FROM jobs; DROP TABLE jobs"],
        ["cancel", "state:queued' OR 'a'='a"],
    ],
    ids=" ".join,
)
def test_sql_in_a_filter_selects_nothing_and_is_never_executed(terminal, words):
    job_id = terminal.submit()[0]

    done = terminal.dq(*words, "--json") if words[0] == "results" else terminal.dq(*words)

    assert done.returncode == 2 or json.loads(done.stdout) == []
    assert "Traceback" not in done.stderr
    assert terminal.show(job_id)["state"] == "queued"


def test_a_name_that_climbs_out_of_a_folder_is_only_a_name(terminal):
    terminal.start("up.log", "up", "--workers", "1")
    terminal.run_jobs("--name", OUTSIDE, "--tag", OUTSIDE)
    for kind in ("tensorboard", "csv"):
        done = terminal.dq("export", "1", "--to", kind, "--out", str(terminal.folder / kind))
        assert done.returncode == 0, done.stderr

    assert not os.path.lexists("/tmp/dq-was-here")
    climbed = [path for path in terminal.folder.rglob("*") if "dq-was-here" in path.name]
    assert climbed == []


@pytest.mark.parametrize("name", [OUTSIDE, "mnist/../../etc", "/etc"])
def test_a_data_set_is_one_of_those_dq_knows_and_no_path(terminal, name):
    assert terminal.dq("data", "verify", name).returncode == 2
    assert terminal.dq("submit", "--dataset", name).returncode == 2
