"""How worker processes log: one line an event, to standard error, as text or as JSON."""

import json
import logging
from datetime import UTC, datetime
from typing import Any

from celery import signals

from models.settings import Settings

_TEXT = "%(asctime)s %(levelname)-7s [%(process)d] %(message)s"
#: What a log call's `extra` may say, besides its message.
_IDS = ("job_id", "attempt")
#: Celery's words on what dq has its own for: lost connections, jobs whose child died.
_SAID_BY_US = ("celery.worker.consumer", "celery.worker.request")


class JsonFormatter(logging.Formatter):
    """Writes a record as one JSON object: time, level, process, message, job_id and attempt."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "pid": record.process,
            "message": record.getMessage(),
        }
        line |= {name: getattr(record, name) for name in _IDS if hasattr(record, name)}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


def _in_our_words(record: logging.LogRecord) -> bool:
    """Let pass what billiard says of a child that died, as dq says it, and nothing else."""
    if not isinstance(record.args, tuple) or "exited with" not in str(record.msg):
        return False
    _name, pid, how = record.args
    record.msg, record.args = "child %s died: %s", (pid, how)
    return True


@signals.setup_logging.connect  # type: ignore[untyped-decorator] # Celery publishes no types
def configure(**_: Any) -> None:
    """Log our own events from INFO on and everybody else's from WARNING on.

    Celery calls this in each of its processes instead of its own set-up.
    """
    handler = logging.StreamHandler()
    as_json = Settings.load().log_format == "json"
    handler.setFormatter(JsonFormatter() if as_json else logging.Formatter(_TEXT, "%H:%M:%S"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.captureWarnings(capture=True)
    logging.getLogger("worker").setLevel(logging.INFO)
    for name in _SAID_BY_US:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    children = logging.getLogger("multiprocessing")  # billiard's, which propagates nothing
    children.addHandler(handler)
    children.addFilter(_in_our_words)
