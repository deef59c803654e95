"""What people may type or store, and what must not come of it."""

import json

import pytest

from acceptance.conftest import COLOURLESS, open_terminal

ESCAPES = "\x1b[2J\x1b]0;owned\x07red\x9b31m"


@pytest.fixture(scope="module")
def used():
    """A terminal where job 1 is queued, with escapes in its name and its note."""
    with open_terminal() as opened:
        opened.submit("--name", f"name{ESCAPES}")
        opened.dq("note", "1", f"note{ESCAPES}")
        yield opened


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
def test_escapes_in_a_name_and_a_note_reach_no_terminal(used, words):
    screen = used.open_screen(*words, kind=COLOURLESS)

    assert screen.finish() == 0
    assert not set("\x1b\x07\x9b") & set(screen.written.decode())
    assert screen.text.strip()


def test_programs_get_a_name_as_it_was_typed(used):
    assert used.data("show", "1")["name"] == f"name{ESCAPES}"


@pytest.mark.parametrize("tag", [ESCAPES, "two\nlines", "a,b", "", "x" * 101])
def test_a_tag_that_could_not_be_typed_again_is_refused(used, tag):
    done = used.dq("tag", "1", tag)

    assert done.returncode == 2
    assert "\x1b" not in done.stderr
    assert used.data("show", "1")["tags"] == []


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
def test_a_value_too_long_or_too_large_to_mean_anything_is_a_short_usage_error(used, words):
    done = used.dq(*words)

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
def test_sql_in_a_filter_selects_nothing_and_is_never_executed(used, words):
    done = used.dq(*words, "--json") if words[0] == "results" else used.dq(*words)

    assert done.returncode == 2 or json.loads(done.stdout) == []
    assert "Traceback" not in done.stderr
    assert used.show(1)["state"] == "queued"


@pytest.mark.parametrize("name", ["../../../../tmp/dq-was-here", "mnist/../../etc", "/etc"])
def test_a_data_set_is_one_of_those_dq_knows_and_no_path(used, name):
    assert used.dq("data", "verify", name).returncode == 2
    assert used.dq("submit", "--dataset", name).returncode == 2
