"""What TensorBoard and MLflow themselves make of an export."""

import csv
import importlib.util
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest
from click.testing import CliRunner, Result

from integration import rows
from integration.rows import PROVENANCE, SPEC
from models.database import Database
from models.spec import ExperimentSpec
from models.tables import Attempt
from servers import free_port
from service.cli import main
from service.jobs import annotations
from service.queries.selectors import ids_condition
from service.reports.export.mlflow import Server
from worker.execution.recorder import AttemptUpdate, Recorder

DROPOUT = SPEC.model_copy(update={"keep": (0.9,), "seed": 1})
#: More metrics than MLflow takes in one call: 250 epochs have 1,250.
LONG = SPEC.model_copy(update={"epochs": 250, "seed": 2})

#: What rows.measured says of three epochs.
LOSSES = [(1, 2.0), (2, 1.0), (3, 2 / 3)]

needs_tensorboard = pytest.mark.skipif(
    importlib.util.find_spec("tensorboard") is None, reason="needs: pip install 'dq[export]'"
)
needs_mlflow = pytest.mark.skipif(
    importlib.util.find_spec("mlflow") is None, reason="needs: pip install mlflow"
)


@pytest.fixture
def export(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Return a function that runs `dq export` in this process, on the test's database."""
    monkeypatch.setenv("DQ_DATABASE_URL", database_url)

    def run(*words: object) -> Result:
        return CliRunner().invoke(main, ["export", *map(str, words)], catch_exceptions=False)

    return run


@pytest.fixture
def jobs(database: Database, recorder: Recorder) -> list[int]:
    """Five jobs: two succeeded, one failed after an epoch, one running, one queued."""
    specs = [SPEC, DROPOUT, *(SPEC.model_copy(update={"seed": seed}) for seed in (2, 3, 4))]
    ids = rows.submit(database, *specs, name="größe")
    for job_id in ids[:2]:
        succeed(recorder, job_id)
    for job_id in ids[2:4]:
        advance(recorder, job_id)
    rows.change(database, ids[2], state="failed", reason="diverged at epoch 2")
    return ids


def succeed(recorder: Recorder, job_id: int, spec: ExperimentSpec = SPEC) -> None:
    claim = rows.claim(recorder, job_id)
    rows.begin(recorder, claim, PROVENANCE, 0)
    rows.succeed(recorder, claim, AttemptUpdate(measured_all(spec)))


def advance(recorder: Recorder, job_id: int) -> None:
    """Let a job run and record its first epoch."""
    claim = rows.claim(recorder, job_id)
    rows.begin(recorder, claim, PROVENANCE, 0)
    rows.record(recorder, claim, AttemptUpdate(rows.measured_all()[:1]))


def measured_all(spec: ExperimentSpec) -> tuple:
    return tuple(rows.measured(epoch) for epoch in range(1, spec.epochs + 1))


# Files, of a real database


def test_every_job_or_every_epoch_is_a_row_oldest_first(export, jobs):
    of_jobs = list(csv.DictReader(io.StringIO(export("--to", "csv").stdout)))
    of_epochs = export("--to", "jsonl", "--epochs").stdout.splitlines()

    assert [int(row["job_id"]) for row in of_jobs] == jobs
    epochs = [(row["job_id"], row["epoch"]) for row in map(json.loads, of_epochs)]
    assert epochs == [
        *((job_id, epoch) for job_id in jobs[:2] for epoch in (1, 2, 3)),
        *((job_id, 1) for job_id in jobs[2:4]),
    ]


def test_a_file_holds_what_standard_output_would_and_the_words_say_where(export, jobs, tmp_path):
    path = tmp_path / "jobs.csv"

    result = export(jobs[0], jobs[1], "--to", "csv", "--out", path)

    assert path.read_text() == export(jobs[0], jobs[1], "--to", "csv").stdout
    assert result.stdout == ""
    assert result.stderr == f"2 rows in {path}\n"


def test_parquet_is_read_back(export, jobs, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs: pip install 'dq[export]'")

    export("--to", "parquet", "--epochs", "--out", tmp_path / "epochs.parquet")

    read = parquet.read_table(tmp_path / "epochs.parquet").to_pylist()
    assert len(read) == 8
    assert read[0]["valid_loss"] == rows.measured(1).valid_loss


def test_latex_is_of_the_comparison(export, jobs):
    text = export("--to", "latex", "--metric", "valid_acc").stdout

    assert r"\caption{Validation accuracy on 300 images" in text
    assert "none & 1 & 0.4300 & " in text


# TensorBoard


@needs_tensorboard
def test_tensorboard_reads_a_run_a_job_with_the_epoch_as_its_step(export, jobs, tmp_path):
    result = export("--to", "tensorboard", "--out", tmp_path)

    runs = {path.parent.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*tfevents*")}
    assert runs == {f"s1/job-{job_id}" for job_id in jobs[:4]}
    assert "Not included: 1 job without an epoch so far." in result.stderr
    events = read_events(tmp_path / f"s1/job-{jobs[0]}")
    losses = [(event.step, event.value) for event in events.Scalars("valid_loss")]
    assert dict(losses) == pytest.approx(dict(LOSSES))
    times = [event.wall_time for event in events.Scalars("seconds")]
    assert times[2] - times[0] == pytest.approx(0.5, abs=1e-3)
    assert set(events.Tags()["scalars"]) == {
        *("train_loss", "train_accuracy", "valid_loss", "valid_accuracy", "seconds")
    }


@needs_tensorboard
def test_tensorboard_groups_the_seeds_of_a_configuration_under_its_spec(export, jobs, tmp_path):
    export("--to", "tensorboard", "--out", tmp_path)

    first, other, third = (read_hparams(tmp_path / f"s1/job-{job_id}") for job_id in jobs[:3])
    assert first.group_name == third.group_name != other.group_name
    assert first.hparams["lr"].number_value == 0.1
    assert first.hparams["keep"].string_value == "none"
    assert other.hparams["keep"].string_value == "0.9"
    assert set(first.hparams) == {*ExperimentSpec.model_fields} - {"seed"}


@needs_tensorboard
def test_the_progress_of_many_jobs_is_on_standard_error(
    export, database, recorder, tmp_path, monkeypatch
):
    monkeypatch.setattr("service.cli.bulk._LINE_SECONDS", 0.0)
    for job_id in rows.submit(database, *[SPEC] * 20):
        advance(recorder, job_id)

    result = export("--to", "tensorboard", "--out", tmp_path)

    assert result.stdout == ""
    first, *_, last = result.stderr.splitlines()
    assert first == "1 of 20 jobs exported"
    assert last == f"20 runs in {tmp_path}. Type: tensorboard --logdir {tmp_path}"


@needs_tensorboard
def test_a_second_tensorboard_export_replaces_the_first(export, jobs, tmp_path, database, recorder):
    export("--to", "tensorboard", "--out", tmp_path)
    before = sorted(tmp_path.rglob("*"))
    finish(database, recorder, jobs[3])

    export("--to", "tensorboard", "--out", tmp_path)

    assert sorted(tmp_path.rglob("*")) == before
    events = read_events(tmp_path / f"s1/job-{jobs[3]}")
    assert [event.step for event in events.Scalars("valid_loss")] == [1, 2, 3]


def finish(database: Database, recorder: Recorder, job_id: int) -> None:
    """Let a running job go on at another attempt, and succeed."""
    rows.change(database, job_id, state="queued", lease_until=None)
    succeed(recorder, job_id)


def read_events(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(folder)).Reload()


def read_hparams(folder: Path) -> Any:
    from tensorboard.plugins.hparams.metadata import (
        SESSION_START_INFO_TAG,
        parse_session_start_info_plugin_data,
    )

    metadata = read_events(folder).SummaryMetadata(SESSION_START_INFO_TAG)
    return parse_session_start_info_plugin_data(metadata.plugin_data.content)


# MLflow


class Mlflow:
    """A client of the test's own, which shares no line with the one under test."""

    def __init__(self, url: str) -> None:
        self.url = url

    def call(self, path: str, **body: object) -> Any:
        data = json.dumps(body).encode() if body else None
        request = Request(f"{self.url}/{path}", data, {"Content-Type": "application/json"})
        with urlopen(request, timeout=30) as answer:
            text = answer.read()
        return json.loads(text) if text.startswith(b"{") else text

    def is_ready(self) -> bool:
        try:
            return bool(self.call("health"))
        except (URLError, OSError):
            return False


class Experiment:
    """An experiment of the test's own."""

    def __init__(self, server: Mlflow, name: str) -> None:
        self.server = server
        self.name = name

    def find(self) -> list[Any]:
        """Return all its runs."""
        path = f"api/2.0/mlflow/experiments/get-by-name?experiment_name={self.name}"
        number = self.server.call(path)["experiment"]["experiment_id"]
        runs: list[Any] = self.server.call("api/2.0/mlflow/runs/search", experiment_ids=[number])[
            "runs"
        ]
        return runs

    def runs(self) -> dict[int, Any]:
        """Return its runs by the job that each names in its tag."""
        by_job = {int(pairs(run["data"]["tags"])["dq.job"]): run for run in self.find()}
        assert len(by_job) == len(self.find()), "a job has two runs"
        return by_job

    def history(self, run: Any, metric: str) -> list[tuple[int, float]]:
        query = f"run_id={run['info']['run_id']}&metric_key={metric}"
        found = self.server.call(f"api/2.0/mlflow/metrics/get-history?{query}")["metrics"]
        return [(point["step"], point["value"]) for point in found]


def pairs(found: list[dict[str, str]]) -> dict[str, str]:
    return {each["key"]: each["value"] for each in found}


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mlflow]:
    """A real MLflow server on a free port, with SQLite behind it; it takes seconds to start."""
    folder = tmp_path_factory.mktemp("mlflow")
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--no-serve-artifacts"]
    command += ["--default-artifact-root", str(folder / "artifacts")]
    off = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "LC_ALL": "C.UTF-8", **off}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        server = Mlflow(f"http://127.0.0.1:{port}")
        deadline = time.monotonic() + 90
        while not server.is_ready():
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.1)
        yield server
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # it has children, in a group of their own
        process.wait()


@pytest.fixture
def experiment(mlflow: Mlflow, request: pytest.FixtureRequest) -> Experiment:
    return Experiment(mlflow, request.node.name)


@pytest.fixture
def to_mlflow(experiment: Experiment, export: Callable[..., Result]) -> Callable[..., Result]:
    """Return a function that exports to the test's experiment."""

    def run(*words: object) -> Result:
        where = ["--url", experiment.server.url, "--experiment", experiment.name]
        return export("--to", "mlflow", *where, *words)

    return run


@needs_mlflow
def test_mlflow_has_a_run_a_job_with_params_metrics_and_tags(to_mlflow, experiment, jobs, database):
    annotations.write_note(database, ids_condition(jobs[:1]), "the fan was broken")
    annotations.add_tags(database, ids_condition(jobs[:1]), ["a", "b"])

    result = to_mlflow()

    runs = experiment.runs()
    assert set(runs) == set(jobs[:4])
    assert "4 runs in MLflow's experiment" in result.stderr
    assert "4 new, 0 updated, 0 unchanged" in result.stderr
    run = runs[jobs[0]]
    params, tags = pairs(run["data"]["params"]), pairs(run["data"]["tags"])
    assert set(params) == set(ExperimentSpec.model_fields)
    assert (params["keep"], params["hidden"], params["seed"]) == ("none", "16", "0")
    assert experiment.history(run, "valid_loss") == LOSSES
    assert tags["dq.configuration"] == SPEC.configuration
    assert tags["dq.database"] == database.name
    assert (tags["dq.name"], tags["dq.tags"]) == ("größe", "a,b")
    assert tags["mlflow.note.content"] == "the fan was broken"
    assert (tags["dq.device"], tags["dq.dataset_hash"]) == ("a processor", "0" * 64)
    assert run["info"]["run_name"] == f"s1/job-{jobs[0]}"


@needs_mlflow
def test_mlflow_shows_the_state_and_the_provenance_of_each_job(
    to_mlflow, experiment, jobs, database
):
    with database.writing() as session:
        attempt = session.get_one(Attempt, (jobs[0], 1))
        attempt.provenance = {**(attempt.provenance or {}), "git_commit": "c0ffee-dirty"}

    to_mlflow()

    runs = experiment.runs()
    states = [runs[job_id]["info"]["status"] for job_id in jobs[:4]]
    assert states == ["FINISHED", "FINISHED", "FAILED", "RUNNING"]
    first = runs[jobs[0]]
    assert first["info"]["end_time"] >= first["info"]["start_time"]
    assert pairs(first["data"]["tags"])["mlflow.source.git.commit"] == "c0ffee-dirty"


@needs_mlflow
def test_exporting_again_makes_no_second_run_and_no_second_point(
    to_mlflow, experiment, jobs, database, recorder
):
    to_mlflow()
    before = experiment.runs()
    finish(database, recorder, jobs[3])

    result = to_mlflow()

    assert "0 new, 1 updated, 3 unchanged" in result.stderr
    after = experiment.runs()
    ids = {job_id: run["info"]["run_id"] for job_id, run in after.items()}
    assert ids == {job_id: run["info"]["run_id"] for job_id, run in before.items()}
    assert after[jobs[0]] == before[jobs[0]]
    assert after[jobs[3]]["info"]["status"] == "FINISHED"
    assert experiment.history(after[jobs[3]], "valid_loss") == LOSSES


@needs_mlflow
def test_an_interrupted_export_is_completed_by_the_next(to_mlflow, experiment, jobs, monkeypatch):
    post = Server.post

    def be_cut_off(self: Server, path: str, **body: Any) -> dict[str, Any]:
        if path == "runs/update":  # the metrics are there, the state is not
            raise KeyboardInterrupt
        return post(self, path, **body)

    with monkeypatch.context() as patch:
        patch.setattr(Server, "post", be_cut_off)
        cut_off = to_mlflow(jobs[0])
    half = experiment.runs()[jobs[0]]

    result = to_mlflow(jobs[0])

    assert (cut_off.exit_code, half["info"]["status"]) == (130, "RUNNING")
    assert experiment.history(half, "valid_loss") == LOSSES
    run = experiment.runs()[jobs[0]]
    assert "0 new, 1 updated" in result.stderr
    assert run["info"]["status"] == "FINISHED"
    assert experiment.history(run, "valid_loss") == LOSSES


@needs_mlflow
def test_more_metrics_than_go_into_one_call_all_arrive(to_mlflow, experiment, database, recorder):
    (job_id,) = rows.submit(database, LONG)
    succeed(recorder, job_id, LONG)

    to_mlflow()

    history = experiment.history(experiment.runs()[job_id], "valid_accuracy")
    assert history == [(epoch, 0.4 + epoch / 100) for epoch in range(1, 251)]


@needs_mlflow
def test_runs_of_other_programs_in_the_experiment_are_left_alone(to_mlflow, experiment, jobs):
    call = experiment.server.call
    number = call("api/2.0/mlflow/experiments/create", name=experiment.name)["experiment_id"]
    by_hand = call("api/2.0/mlflow/runs/create", experiment_id=number, run_name="by hand")["run"]

    result = to_mlflow(jobs[0])

    assert "1 new, 0 updated" in result.stderr
    runs = {run["info"]["run_name"]: run["info"] for run in experiment.find()}
    assert set(runs) == {"by hand", f"s1/job-{jobs[0]}"}
    assert runs["by hand"] == by_hand["info"]


def test_where_no_mlflow_answers_the_url_is_named(export, jobs):
    url = f"http://127.0.0.1:{free_port()}"

    result = export("--to", "mlflow", "--url", url)

    assert result.exit_code == 1
    assert f"No MLflow server answers at {url}: " in result.stderr
    assert len(result.stderr.splitlines()) == 1
