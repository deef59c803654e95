import csv
import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from click.testing import Result

from acceptance.conftest import Terminal
from integration import rows
from models.settings import Settings
from service.cli import COMMANDS, main
from service.operations.schema import open_database

DQ = str(Path(sys.executable).with_name("dq"))
#: The words with which each command that prints data is tried, on the one job of `queued`.
WORDS = {
    "submit": "--dry-run",
    "status": "",
    "results": "",
    "show": "1",
    "diff": "1 1",
    "tune": "--dry-run",
    "reproduce": "",
    "logs": "1",
    "cancel": "1",
    "retry": "1",
    "delete": "state:failed --yes",
    "hold": "1",
    "prioritize": "1 high",
    "release": "1",
    "workers": "",
    "doctor": "",
    "data verify": "digits",
    "db current": "",
    "db reconcile": "",
    # It waits until the job has ended, so this comes last.
    "wait": "1",
}


@pytest.fixture
def queued(dq: Callable[..., Result]) -> Callable[..., Result]:
    """Return `dq` with one job in its database."""
    rows.submit(open_database(Settings.load()), name="größe", tags=("a", "b"))
    return dq


def commands() -> Iterator[tuple[str, click.Command]]:
    """List every command with its name, those of groups too."""
    context = click.Context(main)
    for name in COMMANDS:
        command = main.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from ((f"{name} {each}", sub) for each, sub in command.commands.items())
        else:
            yield name, command


def options(command: click.Command) -> set[str]:
    return {name for parameter in command.params for name in parameter.opts}


def run_on_terminal(home: Path, *words: str, **environment: str) -> str:
    """Run `dq` on a terminal; return what it wrote there."""
    screen = Terminal(home.parent).open_screen(*words, **environment)
    assert screen.finish() == 0
    return screen.written.decode()


def test_every_command_that_prints_data_takes_the_same_formats():
    with_format = {name for name, command in commands() if "--format" in options(command)}

    assert with_format == set(WORDS), "a new command needs its words above"
    for name, command in commands():
        assert ("--json" in options(command)) == (name in {*with_format, "watch"})


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", WORDS)
def test_standard_output_has_nothing_but_json(queued, name):
    if name == "wait":
        queued("cancel", "1")

    result = queued(*name.split(), *WORDS[name].split(), "--json")

    assert json.loads(result.stdout) is not None
    assert "{" not in result.stderr


@pytest.mark.parametrize("name", ["results", "status", "logs"])
def test_csv_has_a_heading_and_a_row_for_each_row(queued, name):
    queued("cancel", "1")

    result = queued(name, *WORDS[name].split(), "--format", "csv")

    heading, *rows = csv.reader(io.StringIO(result.stdout))
    assert rows
    assert all(len(row) == len(heading) for row in rows)


def test_markdown_has_a_heading_and_a_rule(queued):
    result = queued("results", "--format", "md")

    heading, rule, *rows = result.stdout.splitlines()
    assert heading.startswith("| job |")
    assert set(rule) <= set("|-: ")
    assert len(rows) == 1


def test_an_empty_listing_is_an_empty_list_in_json_and_a_message_says_what_to_type(dq):
    result = dq("results", "--json")

    assert json.loads(result.stdout) == []
    assert result.stderr.startswith("There are no ")
    assert "Type: dq " in result.stderr


def test_a_pipe_gets_all_jobs_and_a_terminal_says_how_to_see_more(dq, home):
    specs = [rows.spec(seed=seed) for seed in range(60)]
    rows.submit(open_database(Settings.load()), *specs)

    listed = dq("results", "--json")
    on_terminal = run_on_terminal(home, "results")

    assert len(json.loads(listed.stdout)) == 60
    assert listed.stderr == ""
    assert "There are more: add --after 11 for the next ones" in on_terminal
    assert on_terminal.count("queued") == 50
    assert len(json.loads(dq("results", "--json", "--limit", "7").stdout)) == 7


def test_metrics_at_an_epoch_that_no_job_has_are_refused_with_the_last_there_is(queued):
    for words in (["--at", "epoch:4"], ["--compare", "--at", "epoch:4"]):
        answer = queued("results", *words)

        assert answer.exit_code == 2
        assert "--at epoch:4: none of these jobs has that epoch: give at most epoch:3" in (
            answer.stderr
        )
    assert queued("results", "--at", "epoch:3").exit_code == 0


def test_a_wait_for_jobs_that_have_ended_does_not_ask_for_a_worker(queued):
    queued("cancel", "1")

    assert "worker" not in queued("wait", "1").stderr


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--compare", "--limit", "3"], "--limit does not go with --compare"),
        (["--curves", "--top", "3"], "--top does not go with --curves"),
        (["--by", "lr"], "--by needs --compare"),
        (["--curves", "--at", "epoch:3"], "--at does not go with --curves"),
        (["--compare", "--curves"], "--compare and --curves exclude each other"),
        (["--baseline", "none"], "--baseline needs --compare"),
        (["--mix"], "--mix needs --compare"),
        (["--metric", "valid_loss"], "--metric needs --compare, --curves, --plot or --top"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(dq, words, error):
    result = dq("results", *words)

    assert result.exit_code == 2
    assert error in result.stderr


def test_following_a_log_as_json_prints_json(queued):
    queued("cancel", "1")

    result = queued("logs", "1", "--follow", "--json")

    assert [json.loads(line)["job_id"] for line in result.stdout.splitlines()] == [1]


def test_why_a_job_waits_is_json_if_json_is_asked_for(queued):
    result = queued("show", "1", "--why", "--json")

    assert any("No worker is running" in reason for reason in json.loads(result.stdout))


def test_an_ascii_standard_output_gets_only_ascii(queued, home):
    text = Terminal(home.parent).dq("results", PYTHONIOENCODING="ascii").stdout

    assert text.isascii()
    assert "gr\\xf6\\xdfe" in text
    assert "----" in text


def test_a_terminal_gets_colours_and_a_pipe_does_not(home):
    in_pipe = Terminal(home.parent).dq("submit", "--dry-run")

    assert "\x1b[" in run_on_terminal(home, "submit", "--dry-run")
    assert in_pipe.stdout
    assert "\x1b[" not in in_pipe.stdout


@pytest.mark.parametrize(("value", "is_colored"), [("1", False), ("", True)])
def test_no_color_is_respected_and_counts_as_unset_if_empty(home, value, is_colored):
    # https://no-color.org: "when present and not an empty string"
    written = run_on_terminal(home, "submit", "--dry-run", NO_COLOR=value)

    assert ("\x1b[" in written) is is_colored
