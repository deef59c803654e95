"""Every listing as a person meets it: on a narrow and a wide terminal, in a pipe, in ASCII."""

import pytest
import yaml
from rich.cells import cell_len

from acceptance.conftest import Kind

SMALL = ["--dataset", "digits", "--batch-size", "100", "--epochs", "4"]
DEEP = ["--hidden", "64,32,16,8,8,8,8", "--dropout", "0.95,0.9,0.85,0.8,0.75,0.7,0.65"]
UNUSUAL = [
    *("--momentum", "0.9", "--max-norm", "2.5", "--input-keep", "0.8", "--mask", "sample"),
    *("--lr-decay", "0.99", "--lr", "0.123456789"),
]
NAME = "größe of a rather long name for a sweep that somebody typed"
NOTE = "the fan was broken, and then it was mended, and then it broke again: 日本語"

#: Jobs 1 to 12 are a grid, 13 to 16 deep, 17 fails.
LISTINGS = [
    "results",
    "results --only-changed s1",
    "results --top 3",
    "results --cols job_id,name,note,keep,lr,reason,finished_at",
    "results --compare s1",
    "results --compare s1 --by lr --sort p --top 1",
    "results --compare s2",
    "results --curves s1",
    "results --curves s2",
    "status",
    "workers",
    "show 13",
    "show 17",
    "show 17 --why",
    "diff 1 13",
    "logs 17",
    "watch s1",
    "wait s1",
    "submit --dry-run --fill s1 --seeds 7",
    "submit --dry-run --like 13 --lr 0.1 --lr 0.2",
    "submit --like 13",
    "tune --dry-run",
    "reproduce",
    "reproduce table.yaml",
    "doctor",
    "data verify digits",
    "db current",
    "db reconcile",
    "cancel 1,17",
    "retry 1,2",
    "hold 1",
    "release 1",
]


SPEC = {"dataset": "digits", "hidden": "8x2", "batch_size": 100, "epochs": 4, "lr": 0.5}
FIGURES = {"reported": {"valid_accuracy": [0.5]}, "tolerance": {"valid_accuracy": 0.5}}
TABLE = {
    "version": 1,
    "title": "A table of größe",
    "citation": "N. Nobody, S. Somebody: A long title of nothing. Annals of Nowhere 15 (2026).",
    "assumptions": [
        "The publication does not say how its first weights were drawn: as torch does."
    ],
    "seeds": 3,
    "rows": [
        {"cell": "table 2, row 1: without dropout", "spec": SPEC, **FIGURES},
        {"cell": "table 2, row 2: with", "spec": {**SPEC, "keep": [0.8, 0.8]}, **FIGURES},
    ],
    "claims": [
        {"better": "table 2, row 1: without dropout", "than": "table 2, row 2: with"},
    ],
}


@pytest.fixture(scope="module")
def used(manned):
    """A terminal where some sweeps ran."""
    words = ["--hidden", "8x2", "--lr", "0.5", "--lr", "0.25", "--dropout", "none"]
    manned.dq("submit", *SMALL, *words, "--dropout", "0.8,0.8", "--seeds", "3")
    manned.dq("submit", *SMALL, *DEEP, *UNUSUAL, "--dropout", "none", "--seeds", "2")
    manned.dq("submit", *SMALL, "--hidden", "8", "--lr", "1e30", "--name", NAME)
    manned.dq("tag", "1..17", "größe", "x" * 100)
    manned.dq("note", "1..17", NOTE)
    manned.dq("wait", "1..17")
    (manned.folder / "table.yaml").write_text(yaml.safe_dump(TABLE))
    assert manned.data("status")["jobs"] == {
        "queued": 0,
        "running": 0,
        "succeeded": 16,
        "failed": 1,
        "cancelled": 0,
    }
    return manned


@pytest.mark.parametrize("columns", [80, 200])
@pytest.mark.parametrize("listing", LISTINGS)
def test_no_line_is_longer_than_the_terminal(used, listing, columns):
    screen = used.open_screen(*listing.split(), kind=Kind(columns), shows_words=False)

    screen.finish()

    lines = screen.text.splitlines()
    assert lines
    assert max(map(cell_len, lines)) <= columns
    assert "\N{REPLACEMENT CHARACTER}" not in screen.text
    assert "Traceback" not in screen.text


@pytest.mark.parametrize("listing", LISTINGS)
def test_nothing_is_lost_in_a_pipe_nor_where_it_takes_ascii_alone(used, listing):
    full = used.dq(*listing.split(), PYTHONIOENCODING="utf-8")
    plain = used.dq(*listing.split(), PYTHONIOENCODING="ascii")

    assert full.stdout
    assert "Not shown at" not in full.stdout
    assert "…" not in full.stdout
    assert plain.stdout.isascii()
    assert plain.stderr.isascii()
    assert len(plain.stdout.splitlines()) == len(full.stdout.splitlines())
    assert plain.returncode == full.returncode
    assert "Traceback" not in full.stderr + plain.stderr


def test_a_comparison_by_a_field_has_lines_over_strata_and_the_strata(used):
    words = ["--by", "lr", "--baseline", "lr == 0.5 and keep[0] == 0.8"]

    page = used.dq("results", "--compare", "s1", *words).stdout
    document = used.data("results", "--compare", "s1", *words)
    csv = used.dq("results", "--compare", "s1", *words, "--format", "csv").stdout

    assert "Means over 2 strata, by lr\n" in page
    assert "\nWithin each stratum\n" in page
    assert [row["label"] for row in document["rows"]] == ["keep 0.8,0.8", "no dropout"]
    assert [len(stratum["rows"]) for stratum in document["strata"]] == [2, 2]
    assert len(csv.splitlines()) == 1 + 2 + 4


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--by epochs", "--by: epochs does not vary"),
        ("--by lr --sort age", "--sort age: with --compare, give one of mean, diff, p, n"),
        ("--baseline 0.8", "The baseline '0.8' matches several configurations"),
        ("--baseline lr>0", "The baseline 'lr>0' matches several configurations"),
        ("--baseline lr=0.5", "--baseline 'lr= ...': = is not known: write =="),
    ],
)
def test_a_wrong_way_to_compare_is_refused_with_what_to_give(used, words, message):
    done = used.dq("results", "--compare", "s1", *words.split())

    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr


def test_a_pipe_has_each_value_in_full(used):
    listed = used.dq("results", "13,17").stdout
    shown = used.dq("show", "17").stdout
    chosen = used.dq("results", "17", "--cols", "note,lr").stdout

    assert NAME in listed
    assert "0.123456789" in listed
    assert "0.95,0.9,0.85,0.8,0.75,0.7,0.65" in listed
    assert "diverged at epoch 1" in listed
    assert "train loss" in listed
    assert f"größe,{'x' * 100}" in shown
    assert NOTE in shown
    assert NOTE in chosen
