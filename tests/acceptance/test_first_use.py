"""What a person meets on a machine where dq was never used."""

import json
import shutil
import signal
import subprocess

import pytest

from integration import rows
from models.database import Database
from models.message import Priority
from servers import wait_until

UNREACHABLE_DATABASE = "postgresql://dq:secret@127.0.0.1:1/dq"
UNREACHABLE_REDIS = "redis://:secret@127.0.0.1:1/0"
DIGITS = ["--dataset", "digits", "--hidden", "16x2", "--batch-size", "100"]


def test_submit_works_with_nothing_configured_and_says_how_to_start_a_worker(terminal):
    done = terminal.dq("submit", *DIGITS)

    assert done.returncode == 0
    assert "1 configuration x 1 seed = 1 job" in done.stderr
    assert "No worker is running yet." in done.stderr
    assert "dq worker" in done.stderr
    assert "s1" in done.stdout
    assert terminal.data("status")["jobs"]["queued"] == 1


def test_what_submit_is_told_of_a_job_is_on_its_row(terminal):
    limits = ["--timeout", "30m", "--stall-timeout", "5m", "--max-crashes", "7"]

    (job_id,) = terminal.submit("--priority", "high", "--keep-checkpoint", *limits)

    job = rows.job(Database(f"sqlite:///{terminal.home / 'dq.sqlite'}"), job_id)
    assert (job.priority, job.keep_checkpoint) == (Priority.HIGH, True)
    assert (job.timeout_seconds, job.stall_seconds, job.max_crashes) == (1800, 300, 7)


def test_a_job_is_retried_from_scratch_on_request(terminal):
    (job_id,) = terminal.submit()
    terminal.dq("cancel", str(job_id))

    retried = terminal.data("retry", str(job_id), "--from-scratch")

    assert retried == [{"job_id": job_id, "change": "queued"}]
    assert terminal.data("logs", str(job_id))[-1]["text"] == "queued again from scratch"


def test_a_worker_that_there_is_not_cannot_be_drained(terminal):
    done = terminal.dq("drain", "cpu9-1@nowhere")

    assert done.returncode == 2
    assert "There is no worker 'cpu9-1@nowhere'. Type: dq workers" in done.stderr


def test_a_wait_that_takes_too_long_ends_with_124_and_the_jobs_go_on(terminal):
    terminal.submit()

    done = terminal.dq("wait", "@last", "--timeout", "1s")

    assert done.returncode == 124
    assert "not done after 1 s" in done.stderr
    assert terminal.data("status")["jobs"]["queued"] == 1


def test_a_wait_for_jobs_that_do_not_exist_does_not_pass_for_success(terminal):
    terminal.submit()

    done = terminal.dq("wait", "77")

    assert done.returncode == 2
    assert "There is no job 77." in done.stderr


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("nonsense", "'nonsense' names no jobs: give an id (142), a range (140..151)"),
        ("1-5", "'1-5' names no jobs: give an id (142), a range (140..151)"),
        ("state:lost", "Unknown state 'lost': use one of queued, running"),
    ],
)
def test_a_word_that_names_no_jobs_is_a_usage_error_that_shows_the_grammar(terminal, word, message):
    done = terminal.dq("results", word)

    assert done.returncode == 2
    assert message in done.stderr


@pytest.mark.parametrize(
    "words",
    [["submit", *DIGITS], ["results"], ["wait", "@last"], ["up"]],
    ids=lambda words: words[0],
)
def test_an_unreachable_database_is_one_message_and_exit_code_3(terminal, words):
    done = terminal.dq(*words, DQ_DATABASE_URL=UNREACHABLE_DATABASE)

    assert done.returncode == 3
    assert "127.0.0.1:1/dq does not answer" in done.stderr
    assert "Type: dq doctor" in done.stderr
    assert "Traceback" not in done.stderr
    assert "secret" not in done.stderr


def test_a_worker_that_does_not_reach_redis_says_so_without_its_password(terminal):
    broker = "rediss://user:secret@127.0.0.1:1/0?ssl_password=secret"
    words = ("worker", "--device", "cpu", "--workers", "1")

    worker = terminal.start("w.log", *words, DQ_BROKER_URL=broker, DQ_LOG_FORMAT="json")
    wait_until(
        lambda: terminal.read("w.log").count("worker.queue.transport") > 1,
        "both of its processes try",
    )
    terminal.stop(worker, signal.SIGINT)

    lines = [json.loads(line) for line in terminal.read("w.log").splitlines()]
    assert worker.returncode == 0
    assert {line["logger"] for line in lines} == {
        "worker.queue.transport",
        "worker.supervisor.supervisor",
    }
    assert "Redis does not answer: Error 111" in str(lines)
    assert "secret" not in str(lines)
    assert "traceback" not in str(lines)


def test_a_submit_while_redis_is_down_saves_the_job_and_says_that_it_is_sent_later(terminal):
    done = terminal.dq("submit", *DIGITS, DQ_BROKER_URL=UNREACHABLE_REDIS)

    assert done.returncode == 0
    assert "Saved but not queued: Redis at redis://:***@127.0.0.1:1" in done.stderr
    assert "Sent as soon as Redis answers." in done.stderr
    assert "secret" not in done.stderr
    assert terminal.data("status")["jobs"]["queued"] == 1


def test_an_unknown_setting_is_a_usage_error(terminal):
    done = terminal.dq("status", DQ_HOMEE="/elsewhere")

    assert done.returncode == 2
    assert "Unknown setting DQ_HOMEE" in done.stderr


def test_doctor_finds_all_well_on_a_new_machine_and_says_what_is_not_there_yet(terminal):
    words = terminal.dq("doctor")
    checks = {check["name"]: check for check in terminal.data("doctor")}

    assert words.returncode == 0
    assert words.stderr == "All is well.\n"
    named = {"settings", "database", "redis", "torch", "data", "checkpoints", "workers"}
    assert set(checks) == named
    assert checks["data"]["state"] == checks["workers"]["state"] == "note"
    assert checks["workers"]["fix"] == "dq worker"


@pytest.mark.parametrize(
    ("settings", "failing"),
    [
        ({"DQ_DATABASE_URL": UNREACHABLE_DATABASE}, "database"),
        ({"DQ_BROKER_URL": UNREACHABLE_REDIS}, "redis"),
        ({"DQ_DATABASE_URL": "nonsense"}, "settings"),
        ({"DQ_LEASE": "3"}, "settings"),
    ],
    ids=["database", "redis", "bad value", "unknown name"],
)
def test_doctor_names_what_fails_and_ends_with_1(terminal, settings, failing):
    done = terminal.dq("doctor", "--json", **settings)

    assert done.returncode == 1
    checks = {check["name"]: check for check in json.loads(done.stdout)}
    assert checks[failing]["state"] == "fail"
    assert checks[failing]["fix"]
    assert "secret" not in done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_is_printed_for_each_shell(terminal, shell):
    done = terminal.dq("completion", shell)

    assert done.returncode == 0
    assert "_DQ_COMPLETE" in done.stdout
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=done.stdout, text=True, check=True)


def test_a_shell_completes_commands_options_and_values(terminal):
    def complete(line):
        words = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}
        return terminal.dq(_DQ_COMPLETE="bash_complete", **words).stdout.split()

    assert complete("dq sub") == ["plain,submit"]
    assert complete("dq submit --dropo") == ["plain,--dropout"]
    assert complete("dq submit --dataset di") == ["plain,digits"]


def test_a_database_is_migrated_on_request_and_checked(terminal):
    url = {"DQ_DATABASE_URL": f"sqlite:///{terminal.folder / 'own.sqlite'}"}

    before = terminal.dq("db", "check", **url)
    refused = terminal.dq("results", **url)
    upgraded = terminal.dq("db", "upgrade", **url)
    again = terminal.dq("db", "upgrade", **url)
    after = terminal.dq("db", "check", **url)
    current = terminal.data("db", "current", **url)

    assert before.returncode == refused.returncode == 3
    assert "Type: dq db upgrade" in before.stderr
    assert "Type: dq db upgrade" in refused.stderr
    assert upgraded.returncode == again.returncode == after.returncode == 0
    assert again.stderr == "Up to date.\n"
    assert current["revision"] == current["wanted"]


def test_a_pass_of_the_reconciler_by_hand_prints_what_it_did(terminal):
    terminal.submit(DQ_BROKER_URL=UNREACHABLE_REDIS)

    assert terminal.data("db", "reconcile") == {"lost": 0, "republished": 0}, "no worker is idle"


def test_data_that_is_missing_or_damaged_is_told_and_what_to_type(terminal):
    folder = terminal.folder / "data" / "mnist"
    folder.mkdir(parents=True)
    (folder / "train-images-idx3-ubyte.gz").write_bytes(b"no images")

    done = terminal.dq("data", "verify", "mnist", "--format", "csv")

    states = [line.split(",")[1] for line in done.stdout.splitlines()]
    assert done.returncode == 1
    assert states == ["state", "corrupt", "missing", "missing", "missing"]
    assert "dq data fetch mnist" in done.stderr


def test_data_that_cannot_be_had_is_an_error_without_a_traceback(terminal):
    done = terminal.dq("data", "fetch", "mnist")

    assert done.returncode == 1
    assert "No mirror gave train-images-idx3-ubyte.gz of mnist" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_digits_are_always_complete(terminal):
    done = terminal.dq("data", "verify", "digits")

    assert done.returncode == 0
    assert "needs no files" in done.stderr
