"""Standard streams that are closed, full or of another encoding, and bytes that are no text."""

import os
import re
import subprocess
import sys

import pytest

from acceptance.conftest import DIGITS, DQ, PATIENCE, open_terminal

SUBMIT = " ".join(["dq submit", *(word for pair in DIGITS.items() for word in pair)])
FULL = r"Standard output cannot be written: No space left on device\."
NOT_TEXT = r"is not valid UTF-8"
NO_URL = r"give one like http://127\.0\.0\.1:5000"
#: What is typed into a shell, the exit code, and what is then on standard output and error.
LINES = [
    (f"{SUBMIT} --seed 2 2>&-", 0, r"s\d+ +\d+", ""),
    (f"{SUBMIT} --seed 3 >&-", 0, "", "1 job"),
    (f"{SUBMIT} --seed 4 2>/dev/full", 0, r"s\d+ +\d+", ""),
    (f"{SUBMIT} --seed 5 >/dev/full", 1, "", rf"saved as sweep s\d+\.\nError: {FULL}"),
    (f"{SUBMIT} --seed 6 >/dev/full 2>&1", 1, "", ""),
    (f"{SUBMIT} --seed 7 >&- 2>&- <&-", 0, "", ""),
    ("dq submit --from - <&-", 2, "", "- holds no specs"),
    ("dq results >&-", 0, "", ""),
    ("dq results --format csv >/dev/full", 1, "", FULL),
    ("dq show 1 >/dev/full", 1, "", FULL),
    ("dq show 77 2>/dev/full", 2, "", ""),
    ("dq hold 1 >/dev/full", 1, "", rf"The jobs are changed\.\nError: {FULL}"),
    ("dq export --to jsonl >/dev/full", 1, "", FULL),
    ("dq logs 1 >/dev/full", 1, "", FULL),
    ("dq metrics >/dev/full", 1, "", FULL),
    ("dq completion bash >/dev/full", 1, "", FULL),
    ("dq --help >/dev/full", 1, "", FULL),
    ("dq submit --help >/dev/full", 1, "", FULL),
    ("dq --version >/dev/full", 1, "", FULL),
    ("dq results | head -1; exit ${PIPESTATUS[0]}", 0, "job", ""),
    (f"{SUBMIT} --seed 8 | :; exit ${{PIPESTATUS[0]}}", 1, "", r"saved as sweep s\d+\.\n"),
    ("dq export --to csv | :; exit ${PIPESTATUS[0]}", 1, "", ""),
    ("PYTHONIOENCODING=latin-1 dq results --format csv", 1, "", "latin-1, which has no '—'|u2014"),
    ("PYTHONIOENCODING=latin-1 dq export 1 --to csv", 1, "", "export PYTHONIOENCODING=utf-8"),
    ("PYTHONIOENCODING=latin-1 dq results", 0, "job", ""),
    ("PYTHONIOENCODING=utf-8 dq results --format csv", 0, "a — b", ""),
    (r"dq results $'tag:\xff'", 2, "", NOT_TEXT),
    (r"dq results --where $'name == \"\xff\"'", 2, "", NOT_TEXT),
    (r"dq drain $'\xff'", 2, "", NOT_TEXT),
    (r"dq tag 1 $'\xff'", 2, "", NOT_TEXT),
    (r"dq note 1 $'\xff'", 2, "", NOT_TEXT),
    (rf"{SUBMIT} --name $'\xff'", 2, "", NOT_TEXT),
    (r"dq export --to csv --out $'\xff'", 2, "", NOT_TEXT),
    (r"dq $'\xff'", 2, "", NOT_TEXT),
    (r"DQ_HOME=$PWD/$'\xff' dq results", 2, "", rf"DQ_HOME=.*{NOT_TEXT[3:]}"),
    (r"DQ_DATA_DIR=$'\xff' dq results", 2, "", r"DQ_DATA_DIR=.*valid UTF-8"),
    (r"env -u DQ_HOME HOME=$'/\xff' dq results", 2, "", r"DQ_HOME=.*valid UTF-8"),
    ("DQ_HOME='~nobody-at-all/x' dq results", 2, "", "DQ_HOME=~nobody-at-all/x: "),
    ("dq export --to csv --out '~nobody-at-all/x'", 1, "", "there is no such user"),
    ("dq export 1 --to mlflow --url 'http://[::1'", 2, "", NO_URL),
    ("dq export 1 --to mlflow --url 'http://u:secret@[::1'", 2, "", NO_URL),
    ("dq export 1 --to mlflow --url http://127.0.0.1:99999", 2, "", NO_URL),
    ("dq export 1 --to mlflow --url http://127.0.0.1:abc", 2, "", NO_URL),
    ("dq export 1 --to mlflow --url 127.0.0.1:5000", 2, "", NO_URL),
]


@pytest.fixture(scope="module")
def used():
    """A terminal where one job is queued, whose note has a dash."""
    with open_terminal() as opened:
        opened.submit()
        opened.dq("note", "1", "a — b")
        yield opened


@pytest.mark.parametrize(("line", "code", "out", "err"), LINES, ids=lambda value: str(value)[:60])
def test_what_is_wrong_with_a_stream_or_a_text_is_one_sentence(used, line, code, out, err):
    path = f"{DQ.parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", line],
        env=used.environment(PATH=path),
        cwd=used.folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )

    assert done.returncode == code, done.stderr
    assert re.search(out, done.stdout)
    assert re.search(err, done.stderr)
    assert "Traceback" not in done.stdout + done.stderr
    assert "Exception ignored" not in done.stderr
    assert "secret" not in done.stderr


def test_what_a_submit_saved_is_there_whatever_became_of_its_streams(used):
    seeds = [job["seed"] for job in used.data("results")]

    assert sorted(seeds) == [0, 2, 3, 4, 5, 6, 7, 8]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become a user who does not exist")
def test_a_user_without_a_home_is_told_what_to_set(used):
    code = "import os, sys, service.cli.pause, service.operations.schema\n"
    code += "from service.cli import main; "
    code += "import service.jobs; os.setuid(54321); sys.argv = ['dq', 'pause']; main()"
    environment = used.environment()
    for name in ("HOME", "DQ_HOME", "DQ_DATA_DIR"):
        del environment[name]

    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )

    assert done.returncode == 2, done.stderr
    assert done.stderr == (
        "Error: This user has no home directory, and HOME is not set: set DQ_HOME and DQ_DATA_DIR\n"
    )
