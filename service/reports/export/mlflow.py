"""Copies jobs into an MLflow server over its REST API: a run a job, and never two."""

import base64
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from http.client import HTTPException
from itertools import accumulate
from typing import Any, Literal, Self
from urllib.error import HTTPError
from urllib.parse import SplitResult, quote, unquote, urlsplit, urlunsplit
from urllib.request import Request, urlopen

from models.errors import DqError, UsageError
from models.metrics import METRICS
from models.state import JobState
from service.formatting import format_fields
from service.queries.rows import JobDetail, JobRow

Outcome = Literal["new", "updated", "unchanged"]

_ANSWER_SECONDS = 30.0
# What MLflow takes in one call, and in one tag:
# https://mlflow.org/docs/latest/api_reference/rest-api.html#request-limits
_MOST_METRICS = 1000
_MOST_RUNS = 1000
_LONGEST_TAG = 5000

_STATUSES = {
    JobState.QUEUED: "SCHEDULED",
    JobState.RUNNING: "RUNNING",
    JobState.SUCCEEDED: "FINISHED",
    JobState.FAILED: "FAILED",
    JobState.CANCELLED: "KILLED",
}


@dataclass(frozen=True)
class _Copy:
    """The run that the server has of a job, and how much of the job is in it."""

    run_id: str
    state: str = ""
    epochs: int = 0


class Experiment:
    """An experiment on an MLflow server, with a run for each job."""

    def __init__(self, server: "Server", experiment_id: str) -> None:
        self._server = server
        self._id = experiment_id
        self._copies = dict(_list_copies(server, experiment_id))

    @classmethod
    def open(cls, url: str, name: str) -> Self:
        """Find an experiment by its name, or create it; raise DqError if that cannot be."""
        server = Server(url)
        found = server.find(f"experiments/get-by-name?experiment_name={quote(name, safe='')}")
        if found is None:
            return cls(server, server.post("experiments/create", name=name)["experiment_id"])
        if found["experiment"]["lifecycle_stage"] == "deleted":
            raise DqError(
                f"Experiment {name!r} is in MLflow's trash. Restore it, or give another name."
            )
        return cls(server, found["experiment"]["experiment_id"])

    def add(self, detail: JobDetail, database: str) -> Outcome:
        """Create a run for a job, or update the one it has; a tag names the database.

        Its tags are written last: without them the run counts as unfinished, and the next export
        completes it. What is then logged twice, MLflow keeps once.
        """
        key, job = _key(_identity(detail.row)), detail.row
        copy = self._copies.get(key)
        if copy and (copy.state, copy.epochs) == (job.state, len(detail.epochs)):
            return "unchanged"
        run_id = copy.run_id if copy else self._create(job)
        epochs = copy.epochs if copy else 0
        self._log(run_id, detail, epochs)
        epochs = max(epochs, len(detail.epochs))  # of a job that started again, fewer
        tags = {**_describe(detail, database), "dq.state": job.state, "dq.epochs": epochs}
        self._server.post("runs/log-batch", run_id=run_id, tags=_pairs(tags))
        self._copies[key] = _Copy(run_id, job.state, epochs)
        return "updated" if copy else "new"

    def _create(self, job: JobRow) -> str:
        made = self._server.post(
            "runs/create",
            experiment_id=self._id,
            run_name=f"s{job.sweep_id}/job-{job.job_id}",
            start_time=_milliseconds(_started_at(job)),
            tags=_pairs(_identity(job)),
        )
        return str(made["run"]["info"]["run_id"])

    def _log(self, run_id: str, detail: JobDetail, logged: int) -> None:
        """Log the spec, the epochs after those already logged, and the job's state."""
        job, post = detail.row, self._server.post
        post("runs/log-batch", run_id=run_id, params=_pairs(format_fields(job.spec)))
        metrics = list(_metrics(detail, logged))
        for start in range(0, len(metrics), _MOST_METRICS):
            batch = metrics[start : start + _MOST_METRICS]
            post("runs/log-batch", run_id=run_id, metrics=batch)
        ended = {"end_time": _milliseconds(job.finished_at)} if job.finished_at else {}
        post("runs/update", run_id=run_id, status=_STATUSES[job.state], **ended)


class Server:
    """An MLflow server at a URL, which may hold a user's name and password."""

    def __init__(self, url: str) -> None:
        parts = _split(url)
        user, _, place = parts.netloc.rpartition("@")
        self.url = urlunsplit(parts._replace(netloc=place)).rstrip("/")
        self._headers = {"Content-Type": "application/json"}
        if user:
            token = base64.b64encode(unquote(user).encode()).decode()
            self._headers["Authorization"] = f"Basic {token}"

    def find(self, path: str) -> dict[str, Any] | None:
        """Get something; return None if it does not exist."""
        return self._call(path, None)

    def post(self, path: str, **body: Any) -> dict[str, Any]:
        """Create or change something."""
        found = self._call(path, json.dumps(body, allow_nan=False).encode())
        if found is None:
            raise DqError(
                f"MLflow at {self.url} lost the run that was being written. Export again."
            )
        return found

    def _call(self, path: str, body: bytes | None) -> dict[str, Any] | None:
        """Return the answer; None for what MLflow says does not exist."""
        request = Request(f"{self.url}/api/2.0/mlflow/{path}", body, self._headers)
        try:
            with urlopen(request, timeout=_ANSWER_SECONDS) as answer:
                return dict(json.load(answer))
        except HTTPError as error:
            refusal = _read_refusal(error)
            if refusal.get("error_code") == "RESOURCE_DOES_NOT_EXIST":
                return None
            why = refusal.get("message") or f"HTTP {error.code} {error.reason}"
            raise DqError(f"MLflow at {self.url} refuses: {why}") from error
        except (OSError, HTTPException) as error:
            why = getattr(error, "reason", None) or error
            raise DqError(f"No MLflow server answers at {self.url}: {why}. {_ADVICE}") from error
        except ValueError as error:
            raise DqError(
                f"What answers at {self.url} is not an MLflow server. {_ADVICE}"
            ) from error


def _split(url: str) -> SplitResult:
    """Take a URL apart; raise UsageError for one that names no server."""
    fault = ""
    try:
        parts = urlsplit(url)
        if parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0:
            return parts
    except ValueError as error:
        fault = f" {error}:"
    shown = url.rpartition("@")[2]  # no password
    raise UsageError(f"--url {shown}:{fault} give one like http://127.0.0.1:5000")


_ADVICE = "Type: mlflow server --port 5000, or give another --url."


def _read_refusal(error: HTTPError) -> Mapping[str, Any]:
    """Return MLflow's own description of an error, or nothing if another program answered."""
    with suppress(ValueError, OSError):
        found = json.load(error)
        return found if isinstance(found, dict) else {}
    return {}


def _list_copies(server: Server, experiment_id: str) -> Iterator[tuple[tuple[str, ...], _Copy]]:
    page: dict[str, Any] = {}
    while True:
        found = server.post(
            "runs/search",
            experiment_ids=[experiment_id],
            filter="tags.`dq.job` != ''",
            max_results=_MOST_RUNS,
            **page,
        )
        for run in found.get("runs", ()):
            tags = {tag["key"]: tag["value"] for tag in run["data"].get("tags", ())}
            epochs = int(tags.get("dq.epochs", 0))
            yield _key(tags), _Copy(run["info"]["run_id"], tags.get("dq.state", ""), epochs)
        if not found.get("next_page_token"):
            return
        page = {"page_token": found["next_page_token"]}


def _identity(job: JobRow) -> dict[str, str]:
    """Return the tags that identify a job among those of all databases.

    The time of submission is one of them and the database's name is not: two databases may have
    one name, and one database two.
    """
    return {"dq.job": str(job.job_id), "dq.submitted": job.created_at.isoformat()}


def _key(tags: Mapping[str, str]) -> tuple[str, ...]:
    return tags.get("dq.job", ""), tags.get("dq.submitted", "")


def _describe(detail: JobDetail, database: str) -> dict[str, Any]:
    """Return the tags that tell where a job is from; MLflow's page shows two of them by name."""
    job = detail.row
    return {
        "dq.database": database,
        "dq.sweep": f"s{job.sweep_id}",
        "dq.name": job.name,
        "dq.tags": ",".join(detail.tags),
        "dq.configuration": job.spec.configuration,
        "dq.worker": job.worker,
        **{f"dq.{name}": value for name, value in detail.provenance.items() if name != "dq"},
        "dq.version": detail.provenance.get("dq"),
        "mlflow.source.git.commit": detail.provenance.get("git_commit"),
        "mlflow.note.content": job.note,
    }


def _pairs(values: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the values as MLflow's tags or params, without those that are missing."""
    return [
        {"key": key, "value": str(value)[:_LONGEST_TAG]}
        for key, value in values.items()
        if value not in {None, ""}
    ]


def _metrics(detail: JobDetail, logged: int) -> Iterator[Mapping[str, Any]]:
    """Return the metrics of all epochs but those already logged.

    When an epoch ended is not stored: their times are as if the job had run without a pause.
    """
    seconds = accumulate(epoch.seconds for epoch in detail.epochs)
    start = _milliseconds(_started_at(detail.row))
    for epoch, after in list(zip(detail.epochs, seconds, strict=True))[logged:]:
        time = start + round(1000 * after)
        for name in METRICS:
            value = getattr(epoch, name)
            yield {"key": name, "value": value, "timestamp": time, "step": epoch.epoch}


def _started_at(job: JobRow) -> datetime:
    return job.started_at or job.created_at


def _milliseconds(time: datetime) -> int:
    return round(1000 * time.timestamp())
