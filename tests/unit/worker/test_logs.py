import json
import logging
import subprocess
import sys

from worker.execution.claims import Claim
from worker.logs import JsonFormatter

#: Logs what each kind of process logs, by the set-up that all of them share.
PROGRAM = """
import logging, warnings
from worker import logs
logs.configure()
log = logging.getLogger("worker.execution.recorder")
log.info("%s: succeeded", "job 7 attempt 2", extra={"job_id": 7, "attempt": 2})
log.error('a "quote", a\\nnew line and \\x1b[31m red')
logging.getLogger("celery").info("hidden")
logging.getLogger("celery.worker.consumer.consumer").error("hidden: Cannot connect")
from billiard.util import error, get_logger
get_logger()
error("Process %r pid:%r exited with %r", "SpawnPoolWorker-1", 42, "signal 9 (SIGKILL)", exc_info=0)
warnings.warn("deprecated")
"""


def run(log_format):
    done = subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM],
        env={"DQ_LOG_FORMAT": log_format},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stderr.splitlines()


def test_as_json_each_event_is_one_object_on_one_line_with_job_and_attempt():
    lines = [json.loads(line) for line in run("json")]

    event, hostile, died, warned = lines
    assert (event["message"], event["job_id"], event["attempt"]) == (
        "job 7 attempt 2: succeeded",
        7,
        2,
    )
    assert (event["level"], event["logger"]) == ("info", "worker.execution.recorder")
    assert event["time"].endswith("+00:00")
    assert hostile["message"] == 'a "quote", a\nnew line and \x1b[31m red'
    assert "job_id" not in hostile
    assert died["message"] == "child 42 died: signal 9 (SIGKILL)"
    assert "deprecated" in warned["message"]


def test_as_text_an_event_is_a_line_for_people():
    assert "INFO" in run("text")[0]
    assert "job 7 attempt 2: succeeded" in run("text")[0]


def test_an_attempt_names_itself_in_what_is_logged_of_it():
    claim = Claim(7, 2, None, None, 1.0, None, False)
    record = logging.makeLogRecord({"msg": "%s: failed", "args": (claim,), **claim.ids})

    line = json.loads(JsonFormatter().format(record))

    assert (line["job_id"], line["attempt"]) == (7, 2)
    assert line["message"] == "job 7 attempt 2: failed"


def test_a_traceback_stays_within_its_line():
    try:
        raise ValueError("no")
    except ValueError:
        record = logging.LogRecord("worker", 40, "", 0, "failed", (), sys.exc_info())

    text = JsonFormatter().format(record)

    assert "\n" not in text
    assert "ValueError: no" in json.loads(text)["traceback"]
