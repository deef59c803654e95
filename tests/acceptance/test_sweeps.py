"""Sweeps that build on what ran before, and what is asked of them, on one worker for all tests."""

import csv
import io
import json
import re
import subprocess

import pytest
import yaml
from rich.cells import cell_len

from acceptance.conftest import Kind
from servers import wait_until

SMALL = ["--dataset", "digits", "--hidden", "8", "--batch-size", "100", "--epochs", "4"]
GRID = [*SMALL, "--lr", "0.5", "--dropout", "none", "--dropout", "0.8", "--seeds", "2"]
#: It ends by itself after a test that failed to cancel it.
ENDLESS = ["--epochs", "1000000", "--timeout", "60s"]
METRICS = ("train_loss", "train_accuracy", "valid_loss", "valid_accuracy")
PATIENCE = 90.0


@pytest.fixture(scope="module")
def grid(manned):
    """Two configurations of two seeds each, finished: the ids of their jobs, of sweep s1."""
    submitted = manned.data("submit", *GRID, "--tag", "grid", "--name", "the grid")
    waited = manned.dq("wait", "tag:grid")
    assert waited.returncode == 0, waited.stderr
    assert submitted["sweep"] == 1
    return submitted["jobs"]


def submit(manned, *words):
    """Submit; return what became of the specs, and the words said to the person."""
    done = manned.dq("submit", *words, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def wait(manned, submitted):
    waited = manned.dq("wait", f"s{submitted['sweep']}")
    assert waited.returncode == 0, waited.stderr


def pick(manned, *words):
    """Return the ids of the jobs that `dq results` lists."""
    return [job["job_id"] for job in manned.data("results", *words)]


def test_a_grid_that_is_submitted_again_finds_its_jobs_finished_and_runs_nothing(manned, grid):
    again, words = submit(manned, *GRID)

    assert (again["created"], again["reused"], again["jobs"]) == ([], grid, grid)
    assert f"4 jobs finished before: {grid[0]}..{grid[-1]} (--force runs them again)" in words
    assert f"Nothing is left to run. Next: dq results --compare s{again['sweep']}" in words
    assert pick(manned, f"s{again['sweep']}") == grid[::-1]


def test_force_runs_again_what_is_finished_with_the_same_figures(manned, grid):
    forced, words = submit(manned, *GRID[:-2], "--seed", "1", "--force")
    wait(manned, forced)

    jobs = manned.data("results", "--where", "seed == 1 and lr == 0.5", "--sort", "id:asc")

    figures = [[job["keep"], *(job[name] for name in METRICS)] for job in jobs]
    assert len(forced["created"]) == 2
    assert forced["reused"] == []
    assert "finished before" not in words
    assert figures[:2] == figures[2:4]


def test_fill_tops_the_configurations_of_a_sweep_up_to_so_many_seeds(manned, grid):
    filled, words = submit(manned, "--fill", "s1", "--seeds", "3")
    wait(manned, filled)

    jobs = manned.data("results", f"s{filled['sweep']}", "--sort", "seed:asc")

    assert "2 configurations x 3 seeds = 6 jobs" in words
    assert filled["reused"] == grid
    assert len(filled["created"]) == 2
    assert [job["seed"] for job in jobs] == [0, 0, 1, 1, 2, 2]
    assert {job["state"] for job in jobs} == {"succeeded"}


def test_a_job_like_another_differs_from_it_in_what_was_typed(manned, grid):
    first = grid[0]
    (like,) = submit(manned, "--like", str(first), "--lr", "0.25")[0]["created"]
    manned.dq("wait", str(like))

    differences = manned.data("diff", str(first), str(like))

    parts = {each["part"] for each in differences}
    assert differences[0] == {"part": "spec", "name": "lr", "a": "0.5", "b": "0.25"}
    assert parts == {"spec", "outcome"}
    assert "valid_loss" in {each["name"] for each in differences}


def test_specs_are_taken_from_a_file_and_those_that_are_known_are_not_run_again(manned, grid):
    header = "dataset,hidden,batch_size,epochs,lr,drop,seed"
    known, new = "digits,8,100,4,0.5,0.2,1", 'digits,"8,8",100,1,,"0.1,0.2",7'
    (manned.folder / "specs.csv").write_text(f"{header}\n{known}\n{new}\n")

    submitted, words = submit(manned, "--from", "specs.csv", "--tag", "file")
    wait(manned, submitted)

    (job,) = manned.data("results", str(submitted["created"][0]))
    assert "2 configurations, 2 jobs" in words
    assert submitted["reused"] == [grid[3]]
    assert (job["hidden"], job["keep"], job["lr"], job["seed"]) == ([8, 8], [0.9, 0.8], 0.1, 7)
    assert pick(manned, "tag:file") == [job["job_id"], grid[3]]


def test_specs_are_taken_from_standard_input(manned, grid):
    specs = [{"lr": 0.2, "epochs": 2}, {"lr": 0.3}]

    done = subprocess.run(
        [manned.program, "submit", "--dry-run", "--from", "-", "--json"],
        input="\n".join(map(json.dumps, specs)),
        env=manned.environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )

    assert [(spec["lr"], spec["epochs"]) for spec in json.loads(done.stdout)] == [
        (0.2, 2),
        (0.3, 10),
    ]


def test_a_sample_is_drawn_of_a_grid_and_is_the_same_one_each_time(manned):
    rates = [word for rate in range(1, 21) for word in ("--lr", str(rate / 100))]
    words = ["--dry-run", *SMALL, *rates, "--seeds", "2", "--sample", "3"]

    first, message = submit(manned, *words)
    second, _ = submit(manned, *words)

    assert "3 configurations x 2 seeds = 6 jobs" in message
    assert len({spec["lr"] for spec in first}) == 3
    assert first == second


def test_a_dry_run_says_what_is_known_and_how_long_the_rest_takes(manned, grid):
    specs, words = submit(manned, "--dry-run", *GRID, "--batch-size", "200")
    _, nothing = submit(manned, "--dry-run", *GRID)
    listed = manned.dq("submit", "--dry-run", *GRID).stdout

    assert len(specs) == 8
    assert "Not run again: 4 jobs finished already." in words
    assert re.search(r"About \d+ s on 1 worker, going by \d+ runs", words)
    assert "Nothing is left to run." in nothing
    assert [f"job {job}, finished" in listed for job in grid] == [True] * 4
    assert "digits, hidden 8, lr 0.5, batch 100, 4 epochs" in listed


def test_results_are_picked_by_a_condition_sorted_and_cut_to_columns(manned, grid):
    where = "keep == none and epochs == 4 and tag == grid"

    done = manned.dq(
        *("results", "--where", where, "--sort", "valid_acc:asc"),
        *("--cols", "seed, valid_accuracy,keep", "--format", "csv"),
    )

    rows = [*csv.reader(io.StringIO(done.stdout))]
    accuracies = [float(row[1]) for row in rows[1:]]
    assert rows[0] == ["seed", "valid_accuracy", "keep"]
    assert {row[0] for row in rows[1:]} == {"0", "1"}
    assert accuracies == sorted(accuracies)


def test_the_best_are_at_the_top(manned, grid):
    best = manned.data("results", "tag:grid", "--top", "2", "--metric", "valid_loss")
    all_jobs = manned.data("results", "tag:grid")

    losses = sorted(job["valid_loss"] for job in all_jobs)
    assert [job["valid_loss"] for job in best] == losses[:2]


def test_a_page_says_how_to_get_the_next_one(manned, grid):
    pages, after = [], []
    for _ in range(3):
        words = ["results", "tag:grid", "--sort", "valid_acc", "--limit", "2", *after]
        done = manned.dq(*words, "--json")
        pages.append([job["job_id"] for job in json.loads(done.stdout)])
        if not (more := re.search(r"There are more: add (--after) (\S+)", done.stderr)):
            break
        after = [more[1], more[2]]

    assert [len(page) for page in pages] == [2, 2]
    assert sorted([*pages[0], *pages[1]]) == grid


def test_a_table_of_what_changed_leaves_out_what_all_jobs_have_in_common(manned, grid):
    done = manned.dq("results", "tag:grid", "--only-changed")

    head = done.stdout.splitlines()[0]
    assert "keep" in head
    assert "seed" in head
    assert "hidden" not in head
    assert "lr" not in head


def test_results_are_those_of_the_moment_asked_for(manned, grid):
    epochs = manned.show(grid[0])["epochs"]

    (first,) = manned.data("results", str(grid[0]), "--at", "epoch:1")
    (best,) = manned.data("results", str(grid[0]), "--at", "best:valid_loss")
    compared = manned.dq("results", "tag:grid", "--compare", "--at", "epoch:1")

    assert first["valid_loss"] == epochs[0]["valid_loss"]
    assert best["valid_loss"] == min(epoch["valid_loss"] for epoch in epochs)
    assert "at epoch:1, higher is better" in compared.stdout


def test_curves_are_drawn_and_saved_as_a_picture(manned, grid):
    words = ["results", "tag:grid", "--curves", "--metric", "valid_loss", "--plot", "out.svg"]

    done = manned.dq(*words)

    assert done.returncode == 0, done.stderr
    assert "no dropout" in done.stdout
    assert "Saved out.svg." in done.stderr
    assert "<svg" in (manned.folder / "out.svg").read_text()


def test_a_comparison_is_printed_and_saved_as_a_picture(manned, grid):
    done = manned.dq("results", "tag:grid", "--compare", "--plot", "both.html")

    assert done.returncode == 0, done.stderr
    assert "no dropout" in done.stdout
    assert done.stderr == "Saved both.html.\n"
    page = (manned.folder / "both.html").read_text()
    assert "Difference from no dropout" in page
    assert "Keep rate" in page


def test_jobs_are_found_by_a_tag_and_shown_with_their_note(manned, grid):
    tagged = manned.dq("tag", f"{grid[0]},{grid[2]}", "paper", "good")
    noted = manned.dq("note", "tag:paper", "the fan was broken")

    found = pick(manned, "tag:paper")

    assert tagged.stderr == "Tagged 2 jobs: paper, good.\n"
    assert noted.stderr == "Wrote a note on 2 jobs.\n"
    assert found == [grid[2], grid[0]]
    assert "the fan was broken" in manned.dq("show", str(grid[0])).stdout


def test_watch_follows_jobs_to_their_end_with_a_line_now_and_then(manned, grid):
    with manned.paused():
        submitted, _ = submit(manned, *SMALL, "--lr", "0.05")
        watching = manned.start("watch.log", "watch", f"s{submitted['sweep']}")
        wait_until(lambda: "queued" in manned.read("watch.log"), "the first line is there")

    code = watching.wait(timeout=PATIENCE)

    lines = manned.read("watch.log").splitlines()
    assert code == 0
    assert re.fullmatch(
        r"[\d:]{8} 1 queued; 0 of 4 epochs\. About \d+ s left on 1 worker\. "
        r"The queue is paused\. Type: dq resume\.",
        lines[0],
    )
    assert re.fullmatch(r"[\d:]{8} 1 succeeded; 4 of 4 epochs\.", lines[-2])
    assert lines[-1] == f"Next: dq results --compare s{submitted['sweep']}"
    assert len(lines) <= 5


def test_watch_prints_an_object_a_line_where_json_is_asked_for(manned, grid):
    with manned.paused():
        submitted, _ = submit(manned, *SMALL[:-1], "400", "--lr", "0.06")
        sweep = f"s{submitted['sweep']}"
        watching = manned.start("watch.jsonl", "watch", sweep, "--json")
        wait_until(lambda: "queued" in manned.read("watch.jsonl"), "the first line is there")

    code = watching.wait(timeout=PATIENCE)

    *lines, _ = manned.read("watch.jsonl").splitlines()  # the last one are words
    looks = [json.loads(line) for line in lines]
    assert code == 0
    assert (looks[0]["is_paused"], looks[0]["running"]) == (True, [])
    assert looks[-1]["states"]["succeeded"] == looks[-1]["jobs"] == 1
    assert looks[-1]["epochs_done"] == looks[-1]["epochs"] == 400
    assert [look["epochs_done"] for look in looks] == sorted(look["epochs_done"] for look in looks)


def test_watch_draws_the_jobs_that_run_and_ctrl_c_stops_none_of_them(manned, grid):
    submitted, _ = submit(manned, *SMALL[:-2], *ENDLESS, "--lr", "0.07", "--lr", "0.08")
    sweep, job = f"s{submitted['sweep']}", submitted["jobs"][0]
    screen = manned.open_screen("watch", sweep, kind=Kind(80, 20))
    screen.wait_for("1 running")
    drawn = [screen.wait_for(rf"{job}  8 +none .* (\d+)/1000000 +0\.\d+") for _ in range(3)]

    screen.press(b"\x03")
    code = screen.finish()

    frame = screen.text.rpartition("job  hidden  keep")[2]
    states = [each["state"] for each in manned.data("results", sweep)]
    manned.dq("cancel", sweep)
    assert code == 130
    assert f"The jobs go on. Type: dq watch {sweep}" in frame
    assert int(drawn[0]) < int(drawn[1]) < int(drawn[2])
    assert "\N{BOX DRAWINGS LIGHT DOUBLE DASH HORIZONTAL}" in frame
    assert re.search(r"About .+ left on 1 worker\.", screen.text)
    assert max(map(cell_len, screen.text.splitlines())) <= 80
    assert sorted(states) == ["queued", "running"]
    assert screen.written.rindex(b"\x1b[?25h") > screen.written.rindex(b"\x1b[?25l")  # the cursor


def test_watching_jobs_that_are_not_there_is_told(manned, grid):
    wrong = manned.dq("watch", "s999")
    none = manned.dq("watch")

    assert (wrong.returncode, none.returncode) == (2, 0)
    assert "There is no sweep s999. Type: dq results" in wrong.stderr
    assert none.stderr == "No job is queued or running. Type: dq results\n"


def test_results_are_exported_as_csv(manned, grid):
    done = manned.dq("export", "tag:grid", "--to", "csv", "--out", "out.csv")

    rows = [*csv.DictReader((manned.folder / "out.csv").open())]
    assert "4 rows in out.csv" in done.stderr
    assert [int(row["job_id"]) for row in rows] == grid
    assert [row["state"] for row in rows] == ["succeeded"] * 4
    assert all(float(row["valid_accuracy"]) > 0 for row in rows)


def write_table(manned, name, reported, tolerance):
    """Write a table of the grid's two configurations, for four seeds."""
    spec = {"dataset": "digits", "hidden": 8, "batch_size": 100, "epochs": 4, "lr": 0.5}
    figures = {
        "reported": {"valid_accuracy": [reported]},
        "tolerance": {"valid_accuracy": tolerance},
    }
    table = {
        "version": 1,
        "title": "A small table of digits",
        "citation": "Nobody: Nothing. 2026.",
        "seeds": 4,
        "rows": [
            {"cell": "plain", "spec": spec, **figures},
            {"cell": "dropout", "spec": {**spec, "drop": 0.2}, **figures},
        ],
    }
    (manned.folder / name).write_text(yaml.safe_dump(table))


def test_a_published_table_is_met_by_runs_that_are_made_where_they_are_missing(manned, grid):
    write_table(manned, "met.yaml", reported=0.5, tolerance=0.5)

    done = manned.dq("reproduce", "met.yaml", "--seeds", "4", "--json")

    report = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert "2 configurations x 4 seeds = 8 jobs" in done.stderr
    assert " to run." in done.stderr
    assert [(row["cell"], row["n"], row["verdict"]) for row in report["figures"]] == [
        ("plain", 4, "met"),
        ("dropout", 4, "met"),
    ]


def test_a_published_table_that_is_not_met_ends_with_4(manned, grid):
    write_table(manned, "never.yaml", reported=0.0, tolerance=1e-3)

    done = manned.dq("reproduce", "never.yaml")

    assert done.returncode == 4
    assert "Not met: 2 of 2 published figures and claims." in done.stderr
    assert "not met" in done.stdout


def test_a_published_table_that_one_seed_cannot_judge_ends_with_5(manned, grid):
    write_table(manned, "unsure.yaml", reported=0.0, tolerance=1e-3)

    done = manned.dq("reproduce", "unsure.yaml", "--seeds", "1..1")

    assert done.returncode == 5
    assert "More seeds may help: add --seeds" in done.stderr
    assert "not enough evidence" in done.stdout


UNTIL = [*SMALL, "--lr", "0.3", "--dropout", "none", "--dropout", "0.3", "--until", "decided"]


def test_until_decided_runs_more_seeds_of_one_sweep_until_all_is_decided(manned):
    done = manned.dq("submit", *UNTIL, "--json")

    report = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert "2 configurations x 4 to 20 seeds = 8 to 40 jobs" in done.stderr
    assert "1 of 1 decided" in done.stderr
    assert [row["verdict"] for row in report["rows"]] == ["baseline", "worse"]
    seeds = [cost["seeds"] for cost in report["costs"]]
    assert seeds[0] == seeds[1] < 20
    compared = json.loads(manned.dq("results", "--compare", "@last", "--json").stdout)
    assert compared["rows"] == report["rows"], "it is one sweep"


def test_until_decided_goes_on_where_it_was_killed(manned):
    words = [*UNTIL]
    calm = json.loads(manned.dq("submit", *words, "--json").stdout)
    words[words.index("0.3")] = "0.300001"  # other jobs of nearly the same figures
    killed = manned.start("killed.log", "submit", *words)
    wait_until(lambda: "4 seeds" in manned.read("killed.log"), "the first round has ended")
    killed.kill()
    killed.wait()

    again = manned.dq("submit", *words, "--json")

    assert again.returncode == 0, again.stderr
    assert "8 jobs finished before" in again.stderr
    report = json.loads(again.stdout)
    assert [row["verdict"] for row in report["rows"]] == [row["verdict"] for row in calm["rows"]]
