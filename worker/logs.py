"""How worker processes log: one line an event, to standard error, as text or as JSON."""

import json
import logging
from datetime import UTC, datetime
from typing import Any

from celery import signals

from models.settings import Settings

_TEXT = "%(asctime)s %(levelname)-7s [%(process)d] %(message)s"
#: The fields that a log call's `extra` may have.
_IDS = ("job_id", "attempt")
#: Loggers of Celery for what dq logs itself: lost connections, jobs whose child died.
_LOGGED_BY_DQ = ("celery.worker.consumer", "celery.worker.request")


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


def _reword_death(record: logging.LogRecord) -> bool:
    """Let only billiard's record of a child's death pass, reworded."""
    if not isinstance(record.args, tuple) or "exited with" not in str(record.msg):
        return False
    _name, pid, how = record.args
    record.msg, record.args = "child %s died: %s", (pid, how)
    return True


@signals.setup_logging.connect  # type: ignore[untyped-decorator] # Celery publishes no types
def configure(**_: Any) -> None:
    """Log our own events from INFO on and everybody else's from WARNING on.

    Celery calls this in each of its processes, in place of its own set-up.
    """
    handler = logging.StreamHandler()
    as_json = Settings.load().log_format == "json"
    handler.setFormatter(JsonFormatter() if as_json else logging.Formatter(_TEXT, "%H:%M:%S"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.captureWarnings(capture=True)
    logging.getLogger("worker").setLevel(logging.INFO)
    for name in _LOGGED_BY_DQ:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    children = logging.getLogger("multiprocessing")  # billiard's, which propagates nothing
    children.addHandler(handler)
    children.addFilter(_reword_death)
