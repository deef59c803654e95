"""Each command as a person runs it: on a pseudo-terminal, of one kind or another."""

import re
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from acceptance.conftest import ASCII, COLOURLESS, DIGITS, DQ, DUMB, NARROW, PATIENCE, WIDE, Kind
from servers import wait_until
from service.cli import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
CTRL_C = b"\x03"
#: What shows how far a job is that has no end.
BAR = r"[1-9]\d*/1000000"
SMALL = [word for pair in DIGITS.items() for word in pair]
#: It ends by itself after a test that failed to cancel it.
ENDLESS = [*SMALL[:-2], "--epochs", "1000000", "--lr", "0.07", "--timeout", "90s"]
#: With the same job among its candidates.
ENDLESS_TUNING = " ".join(["tune --budget 9", *ENDLESS[:-2]])
SPEC = {"dataset": "digits", "hidden": "16x2", "batch_size": 100}
FIGURES = {"reported": {"valid_accuracy": [0.5]}, "tolerance": {"valid_accuracy": 0.5}}


@dataclass(frozen=True)
class Use:
    """A use of a command: what it shows, how it ends, and after what it gets Ctrl-C, if at all."""

    words: str
    shows: str
    code: int = 0
    kind: Kind = NARROW
    stop_at: str = ""


#: At least one of each command, in an order in which they work: jobs 1 to 5 are done.
USES = [
    Use("pause", "Paused"),
    Use("submit --dataset digits --hidden 16x2 --epochs 3 --lr 0.2", r"s\d", kind=ASCII),
    Use("status", "queued", kind=ASCII),
    Use("prioritize @last high", "high priority", kind=ASCII),
    Use("hold @last", "held", kind=ASCII),
    Use("release @last", "queued", kind=WIDE),
    Use("cancel @last", "cancelled", kind=DUMB),
    Use("retry @last", "queued", kind=COLOURLESS),
    Use("cancel @last", "cancelled"),
    Use("delete @last --yes", "deleted", kind=ASCII),
    Use("resume", "Resumed", kind=ASCII),
    Use("submit --dataset digits --hidden 16x2 --epochs 9 --lr 0.2 --wait", "succeeded"),
    Use("submit --wait --like 1 --epochs 5", "succeeded", kind=DUMB),
    Use("submit --wait --like 1 --epochs 6", "succeeded", kind=COLOURLESS),
    Use("submit --fill s1 --seeds 4..6 --until decided", "what it cost"),
    Use("submit --fill s1 --until decided --seeds 5 --smallest 9", "5 seeds: ", kind=DUMB),
    Use("results --compare s1", "baseline", kind=WIDE),
    Use("results 5 --cols name,note", "größe"),
    Use("results 5 --cols name,note", r"gr\\xf6\\xdfe", kind=ASCII),
    Use("results --compare s1", "keep", kind=DUMB),
    Use("wait s1", "succeeded", kind=COLOURLESS),
    Use("watch s1", "4 succeeded", kind=ASCII),
    Use("reproduce table.yaml --seeds 3", "met", kind=ASCII),
    Use(" ".join(["tune --budget 9 --confirm 3", *SMALL]), "contender", kind=ASCII),
    Use(" ".join(["tune --budget 9 --confirm 3", *SMALL]), "done before"),
    Use(" ".join(["tune --budget 9 --dry-run", *SMALL]), "rung 1", kind=COLOURLESS),
    Use("export s1 --to csv", "digits", kind=ASCII),
    Use("show 5", "größe", kind=COLOURLESS),
    Use("diff 1 2", "keep"),
    Use("tag 1 größe", "1 job", kind=DUMB),
    Use("note 1 größe", "1 job", kind=ASCII),
    Use("logs 1 -f", "succeeded", kind=ASCII),
    Use("workers", "cpu", kind=DUMB),
    Use("metrics", "dq_", kind=WIDE),
    Use("data verify digits", "digits", kind=COLOURLESS),
    Use("db current", "sqlite"),
    Use("db prune --older-than 90d", "No job is so old", kind=DUMB),
    Use("doctor", "redis", kind=ASCII),
    Use("completion bash", "_DQ_COMPLETE"),
    Use("web --port 0", "The page is down", stop_at="To act, open"),
    Use("demo", r"go on\. Type: dq wait s\d", code=130, kind=DUMB, stop_at="epochs"),
    Use("up --workers 1", "already runs", code=1, kind=DUMB),
    Use("--help", "submit", kind=ASCII),
    Use("sumbit", "Did you mean 'submit'", code=2, kind=DUMB),
]


#: What follows job {}, which has no end, and what it says to type after Ctrl-C.
ENDLESS_USES = [
    Use("wait {}", "Type: dq wait {}", stop_at=BAR),
    Use("wait {}", "Type: dq wait {}", kind=ASCII, stop_at=BAR),
    Use("watch {}", "Type: dq watch {}", kind=WIDE, stop_at=BAR),
    Use("watch {}", "Type: dq watch {}", kind=DUMB, stop_at="running|epochs"),
    Use("logs {} -f", "Type: dq logs {} -f", stop_at="job|claimed"),
    Use(" ".join(["submit --wait", *ENDLESS]), r"Type: dq wait s\d+", kind=COLOURLESS, stop_at=BAR),
    Use(
        "reproduce endless.yaml --seeds 1", "Type: dq reproduce endless.yaml --seeds 1", stop_at=BAR
    ),
    Use(ENDLESS_TUNING, f"Type: dq {ENDLESS_TUNING}", stop_at=BAR),
]


@pytest.fixture(scope="module")
def used(manned):
    """A terminal where a worker runs, four jobs are done and one is held."""
    manned.dq("submit", *SMALL, "--dropout", "none", "--dropout", "0.9,0.8", "--seeds", "2")
    manned.dq("submit", *SMALL, "--lr", "0.5", "--name", "größe")
    manned.dq("note", "1", "größe")
    table = {
        "version": 1,
        "title": "A table of größe",
        "citation": "N. Nobody: A title. Annals of Nowhere 15 (2026).",
        "seeds": 2,
        "rows": [{"cell": "größe", "spec": {**SPEC, "epochs": 3}, **FIGURES}],
    }
    (manned.folder / "table.yaml").write_text(yaml.safe_dump(table))
    endless = {**SPEC, "lr": 0.07, "epochs": 1_000_000}
    table["rows"][0]["spec"] = endless
    (manned.folder / "endless.yaml").write_text(yaml.safe_dump(table))
    assert manned.dq("wait", "1..5").returncode == 0
    return manned


def run(terminal, use):
    """Run a command on its kind of terminal, check what is shown there, and return that."""
    screen = terminal.open_screen(*use.words.split(), kind=use.kind)
    if use.stop_at:
        screen.wait_for(use.stop_at)
        screen.press(CTRL_C)
    code = screen.finish()
    assert (code, screen.faults) == (use.code, []), screen.text
    assert re.search(use.shows, screen.text), screen.text
    return screen.text


def test_each_command_of_the_help_has_a_use_on_a_terminal():
    with_use = {use.words.split()[0] for use in [*USES, *ENDLESS_USES]}

    assert set(COMMANDS) - with_use == {"worker", "drain"}, "a new command needs its use above"


def test_ctrl_c_ends_what_follows_a_job_and_it_says_what_goes_on_and_what_to_type(used):
    (job_id,) = used.submit(*ENDLESS, "--priority", "high")

    for use in ENDLESS_USES:
        screen = used.open_screen(*use.words.format(job_id).split(), kind=use.kind)
        screen.wait_for(use.stop_at)
        screen.wait_for(use.stop_at)  # it moves
        screen.press(CTRL_C)

        assert (screen.finish(), screen.faults) == (130, []), screen.text
        assert re.search(f"The jobs go on. {use.shows.format(job_id)}\n", screen.text), screen.text
        cursor = [screen.written.rfind(code) for code in (b"\x1b[?25l", b"\x1b[?25h")]
        assert cursor == sorted(cursor), "it is shown again"
    assert used.data("cancel", str(job_id)) == [{"job_id": job_id, "change": "cancelled"}]
    assert used.dq("cancel", "tag:tune").returncode == 0


def test_ctrl_c_ends_a_submit_until_decided_and_it_says_how_to_go_on(used):
    rates = ["--dropout", "0.9", "--dropout", "none"]
    words = ["submit", *ENDLESS, *rates, "--until", "decided"]
    typed = re.escape(" ".join(words))

    run(used, Use(" ".join(words), rf"with the rest, type: dq {typed}", 130, stop_at="running"))

    assert len(used.data("cancel", "@last")) == 8


@pytest.mark.parametrize("use", USES, ids=lambda use: use.words)
def test_a_command_works_on_a_terminal(used, use):
    run(used, use)


def test_a_worker_says_on_ctrl_c_that_it_gives_its_jobs_back_and_one_is_drained(used):
    before = len(used.data("workers"))
    screen = used.open_screen("worker", "--device", "cpu", "--workers", "1", kind=DUMB)
    wait_until(lambda: len(used.data("workers")) > before, "it runs", PATIENCE)

    screen.press(CTRL_C)

    assert (screen.finish(), screen.faults) == (0, []), screen.text
    assert "running jobs are given back" in screen.text
    run(used, Use("drain", "1 worker", kind=ASCII))


def test_a_worker_that_only_starts_is_ended_by_ctrl_c_without_a_traceback(terminal):
    screen = terminal.open_screen("worker", "--device", "cpu", "--workers", "1")
    screen.wait_for("Started the embedded Redis")

    screen.press(CTRL_C)

    assert screen.finish() in {0, 130}
    assert screen.faults == []


def test_up_says_on_ctrl_c_that_what_is_queued_is_kept(terminal):
    run(terminal, Use("up --workers 1", "is kept. Type: dq up", kind=ASCII, stop_at="To look"))


def test_make_demo_ends_in_the_table_on_a_terminal_of_a_new_user_and_leaves_no_process(terminal):
    installed = [f"BIN={DQ.parent}", "--assume-old=.venv/runs"]
    screen = terminal.open_screen("-C", str(ROOT), "demo", *installed, program="make")

    screen.wait_for("[1-4] of 4 jobs done")
    assert (screen.finish(), screen.faults) == (0, []), screen.text
    drawn, _, end = screen.text.rpartition("4 of 4 jobs done")
    (about_mnist,) = [line for line in drawn.splitlines() if "MNIST" in line]
    assert "this demo runs on scikit-learn's 1,797 digits instead" in about_mnist
    assert "digits, hidden 256x3" in end
    assert re.search("^keep .* mean ", end, re.MULTILINE)
    assert "baseline" in end
    assert "Next: dq show 1" in end
    assert terminal.processes() == []
    assert terminal.data("status")["jobs"]["succeeded"] == 4


@pytest.mark.parametrize("kind", [NARROW, WIDE, DUMB, COLOURLESS], ids=lambda kind: kind.columns)
def test_a_download_is_drawn_on_each_terminal_whether_its_size_is_known_or_not(terminal, kind):
    program = ["import sys; sys.path.insert(0, sys.argv[1])"]
    program += ["from worker.download_bar import DownloadBars", "with DownloadBars() as bars:"]
    for name, size in (("known.gz", 10_000_000), ("unknown.gz", 0)):
        program += [f"    bar = bars({name!r})", f"    bar.total = {size}"]
        program += ["    bar.update(5_000_000)"]
    words = ["-c", "\n".join(program), str(ROOT)]

    screen = terminal.open_screen(*words, program=sys.executable, kind=kind)

    assert (screen.finish(), screen.faults) == (0, []), screen.text
    assert "5.0/10.0 MB" in screen.text
    assert "5.0/? MB" in screen.text
