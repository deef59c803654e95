import csv
import io
import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import Result

from models.errors import DqError, UsageError
from models.metrics import EpochMetrics
from models.spec import ExperimentSpec
from models.state import JobState
from service.analysis.comparison import compare
from service.jobs import Submitted
from service.queries.rows import ComparedJob, Curve, JobDetail, JobRow
from service.reports.comparison_table import comparison_table
from service.reports.export.files import job_epoch_table, to_text, write_parquet, write_text
from service.reports.export.mlflow import Experiment, Server
from service.reports.job_tables import ColumnChoice, job_table, submitted_table
from service.reports.table import Column, Table, render

SPEC = ExperimentSpec(dataset="digits", hidden=(16, 8), keep=(0.9, 0.8), batch_size=100, seed=3)
AT = datetime(2026, 11, 24, 12, 30, 15, 123456, tzinfo=UTC)
EPOCHS = tuple(
    EpochMetrics(number, 1 / number, 0.5, 2 / number, 0.4 + number / 100, 0.25)
    for number in (1, 2, 3)
)
METRICS = {"train_loss": 1 / 3, "train_accuracy": 0.5, "valid_loss": 2 / 3, "valid_accuracy": 0.43}
MASKS = ("batch", "sample")
NASTY = 'line\nbreak, "quotes" \x1b[31m <b> ä€'
#: What LaTeX gives a meaning.
SPECIAL = r"\ & % $ # _ { } ~ ^ < > |"


def job(job_id: int, **changes) -> JobRow:
    values = {
        "sweep_id": 7,
        "owner": "ann",
        "name": NASTY,
        "state": JobState.SUCCEEDED,
        "reason": None,
        "note": None,
        "spec": SPEC,
        "attempt": 1,
        "epochs_done": 3,
        "worker": "cpu0@here",
        "created_at": AT,
        "started_at": AT,
        "finished_at": None,
        "held": False,
        "metrics": METRICS,
    }
    return JobRow(job_id=job_id, **{**values, **changes})


def queued(job_id: int) -> JobRow:
    return job(job_id, state=JobState.QUEUED, metrics={}, started_at=None, worker=None)


@pytest.fixture
def comparison() -> Table:
    figures = [((1.0, 1.0), 0.95), ((1.0, 1.0), 0.94), ((0.9, 0.8), 0.91), ((0.9, 0.8), 0.9)]
    runs = [
        ComparedJob(
            number,
            JobState.SUCCEEDED,
            SPEC.model_copy(update={"keep": keep, "seed": number % 2}),
            1,
            {"valid_accuracy": figure},
        )
        for number, (keep, figure) in enumerate(figures)
    ]
    return comparison_table(compare(runs))


def listing(*values: object) -> Table:
    return Table((Column("name", "name"),), [{"name": value} for value in values])


# Files


def test_csv_has_a_row_a_job_with_the_figures_at_full_precision():
    text = to_text(job_table([job(1), queued(2)]), "csv")

    first, second = csv.DictReader(io.StringIO(text))
    assert float(first["valid_loss"]) == 2 / 3
    assert (first["job_id"], first["keep"], first["seed"]) == ("1", "0.9,0.8", "3")
    assert first["name"] == NASTY
    assert (second["state"], second["valid_loss"]) == ("queued", "")


def test_json_lines_have_an_object_a_line_whatever_a_name_holds():
    text = to_text(job_table([job(1), queued(2)]), "jsonl")

    first, second = map(json.loads, text.splitlines())
    assert first["name"] == NASTY
    assert first["hidden"] == [16, 8]
    assert first["valid_loss"] == 2 / 3
    assert first["created_at"] == "2026-11-24T12:30:15.123456+00:00"
    assert second["started_at"] is None


def test_json_lines_never_hold_what_json_has_no_word_for():
    text = to_text(listing(float("nan"), float("inf")), "jsonl")

    assert text.splitlines() == ['{"name": null}', '{"name": null}']


def test_markdown_is_that_of_every_other_table():
    heading, rule, row = to_text(job_table([job(1)]), "md").splitlines()[:3]

    assert heading.startswith("| job |")
    assert set(rule) <= set("|-: ")
    assert r"line\\nbreak" in row


def test_parquet_gives_back_the_values_and_their_types(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs: pip install 'dq[export]'")
    path = tmp_path / "jobs.parquet"

    write_parquet(job_table([job(1), queued(2)]), path)

    first, second = parquet.read_table(path).to_pylist()
    assert (first["job_id"], first["name"], first["held"]) == (1, NASTY, False)
    assert (first["hidden"], first["keep"]) == ([16, 8], [0.9, 0.8])
    assert (first["valid_loss"], first["created_at"]) == (2 / 3, AT)
    assert (second["state"], second["valid_loss"], second["started_at"]) == ("queued", None, None)


def test_parquet_columns_have_the_same_type_where_all_values_are_missing(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs: pip install 'dq[export]'")
    paths = [tmp_path / "full.parquet", tmp_path / "empty.parquet"]
    full = job(1, finished_at=AT, reason="it diverged", note="hot")

    write_parquet(job_table([full]), paths[0])
    write_parquet(job_table([queued(2)]), paths[1])

    full_schema, empty_schema = map(parquet.read_schema, paths)
    assert full_schema.equals(empty_schema)
    assert len(parquet.read_table(paths).to_pylist()) == 2


def test_every_field_of_a_spec_has_its_type_in_parquet(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs: pip install 'dq[export]'")

    write_parquet(job_table([job(1)]), tmp_path / "jobs.parquet")

    schema = parquet.read_schema(tmp_path / "jobs.parquet")
    text = {name for name in schema.names if str(schema.field(name).type) == "string"}
    words = {"dataset", "mask", "evaluation", "precision"}
    assert text & set(ExperimentSpec.model_fields) == words


def test_epochs_have_a_row_each_with_the_spec_of_their_job():
    curves = [Curve(1, JobState.SUCCEEDED, SPEC, EPOCHS), Curve(2, JobState.QUEUED, SPEC, ())]

    table = job_epoch_table([job(1), queued(2)], curves)

    rows = list(csv.DictReader(io.StringIO(to_text(table, "csv"))))
    assert [(row["job_id"], row["epoch"]) for row in rows] == [("1", "1"), ("1", "2"), ("1", "3")]
    assert [float(row["valid_loss"]) for row in rows] == [2.0, 1.0, 2 / 3]
    assert {(row["keep"], row["epochs"], row["seconds"]) for row in rows} == {
        ("0.9,0.8", "10", "0.25")
    }


def test_a_text_file_ends_with_a_line_and_its_folder_is_made(tmp_path):
    write_text("é", tmp_path / "new" / "file.csv")

    assert (tmp_path / "new" / "file.csv").read_bytes() == "é\n".encode()


def test_a_file_that_fails_half_way_leaves_the_one_before_and_no_other(tmp_path):
    (tmp_path / "file").write_text("before")

    with pytest.raises(UnicodeEncodeError):
        write_text("half\n" * 10_000 + "\ud800", tmp_path / "file")

    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("file", "before")]


def test_a_link_stays_a_link_to_the_file_that_is_replaced(tmp_path):
    (tmp_path / "file").write_text("before")
    (tmp_path / "link").symlink_to(tmp_path / "file")

    write_text("after", tmp_path / "link")

    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "after\n"


@pytest.mark.parametrize("path", ["/dev/null", "/tmp"])
def test_what_is_no_file_is_never_replaced(path):
    with pytest.raises(DqError, match="is not a file"):
        write_text("", Path(path))

    assert not Path(path).is_file()


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()

    with pytest.raises(DqError, match=r"file/new\.csv cannot be written: "):
        write_text("", tmp_path / "file" / "new.csv")


def test_a_narrow_list_of_jobs_leaves_out_what_does_not_vary():
    specs = [SPEC.model_copy(update={"lr": lr, "momentum": 0.9, "seed": 1}) for lr in (0.1, 0.2)]
    rows = [job(number, spec=spec, name=None) for number, spec in enumerate(specs, 1)]

    text = render(job_table(rows), "table", width=40, color=False, ascii=False)

    assert text.splitlines()[:3] == [
        "In all rows: data set digits, hidden",
        "16,8, keep 0.9,0.8, seed 1, epochs 3/10,",
        "state succeeded",
    ]
    assert text.splitlines()[3].split() == ["job", "lr", "valid", "loss", "valid", "acc"]


def test_a_list_of_jobs_has_each_field_that_varies():
    specs = [SPEC, SPEC.model_copy(update={"momentum": 0.9, "mask": "sample"})]

    columns = job_table([job(1, spec=specs[0]), job(2, spec=specs[1])]).columns

    assert {"momentum", "mask"} <= {column.name for column in columns}
    assert "max_norm" not in {column.name for column in columns}


def test_a_narrow_list_of_what_changed_leaves_out_columns_rather_than_fold_them_all():
    specs = [SPEC.model_copy(update={"lr": lr, "mask": mask}) for lr in (1, 2) for mask in MASKS]
    rows = [job(number, spec=spec, name=None) for number, spec in enumerate(specs, 1)]
    table = job_table(rows, ColumnChoice(only_changed=True))

    text = render(table, "table", width=40, color=False, ascii=False)

    heading = next(line.split() for line in text.splitlines() if line.startswith("job"))
    assert [column.name for column in table.columns][:3] == ["job_id", "lr", "mask"]
    assert heading == ["job", "lr", "mask", "valid", "loss", "valid", "acc"]


def test_a_pipe_has_every_job_of_a_submit_however_scattered():
    ids = tuple(range(1, 100, 2))
    table = submitted_table(Submitted(7, ids, (), (), None))

    text, narrow = (
        render(table, "table", width=width, color=False, ascii=False) for width in (None, 80)
    )

    assert text.splitlines()[-1].split(maxsplit=1)[1].split(", ") == [*map(str, ids)]
    assert narrow.splitlines()[-1].endswith("…")


# LaTeX


def test_latex_is_a_booktabs_table_of_the_comparison(comparison):
    text = to_text(comparison, "latex")

    lines = [line.strip() for line in text.splitlines()]
    assert lines[lines.index(r"\toprule") + 2] == r"\midrule"
    heading = lines[lines.index(r"\toprule") + 1]
    assert heading.startswith(r"keep & n & mean & 95 \% interval & ")
    body = lines[lines.index(r"\midrule") + 1 : lines.index(r"\bottomrule")]
    assert body[0].startswith("none & 2 & 0.9450 & ")
    assert body[1].startswith("0.9,0.8 & 2 & 0.9050 & ")
    assert {line.count(" & ") for line in [heading, *body]} == {heading.count(" & ")}
    assert f"{{tabular}}{{l{'r' * (heading.count(' & ') - 1)}l}}" in text


def test_a_hyphen_before_a_figure_is_set_as_a_minus(comparison):
    text = to_text(comparison, "latex")

    assert "$-$4.00 pt" in text
    assert "& ---" in text, "a dash where there is no value"


def test_all_that_latex_gives_a_meaning_is_escaped():
    table = Table(
        (Column("name", f"title {SPECIAL}"),),
        [{"name": SPECIAL}],
        title=(SPECIAL,),
        footnotes=(SPECIAL,),
    )

    text = to_text(table, "latex")

    escaped = (
        r"\textbackslash{} \& \% \$ \# \_ \{ \} \textasciitilde{} \textasciicircum{} "
        r"\textless{} \textgreater{} \textbar{}"
    )
    assert text.count(escaped) == 4
    own = re.sub(r"^ *(%.*|\\(begin|end|par).*)$", "", text, flags=re.MULTILINE)
    assert not re.search(r"(?<!\\)[%$#_^~]", own.replace("$-$", ""))


def test_no_control_character_reaches_latex():
    text = to_text(listing("a\x1b[31m\nb"), "latex")

    assert r"a\textbackslash{}x1b[31m\textbackslash{}nb \\" in text


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="there is no pdflatex here")
def test_latex_compiles(comparison, tmp_path):
    words = SPECIAL.replace("$ ", "")  # LaTeX takes \$ from a font that small installations lack
    special = to_text(Table((Column("name", words),), [{"name": f'{words} "'}]), "latex")
    document = [
        r"\documentclass{article}\usepackage{booktabs}\begin{document}",
        to_text(comparison, "latex"),
        special,
        r"\end{document}",
    ]
    (tmp_path / "paper.tex").write_text("\n".join(document), encoding="utf-8")

    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=60, check=False)

    assert done.returncode == 0, done.stdout.decode(errors="replace")
    assert (tmp_path / "paper.pdf").stat().st_size > 10_000


# The command


def test_the_kinds_that_are_no_text_want_a_path(dq: Callable[..., Result]):
    assert "needs --out with a file" in dq("export", "--to", "parquet").stderr
    assert "needs --out with the folder" in dq("export", "--to", "tensorboard").stderr
    assert dq("export", "--to", "parquet").exit_code == 2


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("--to latex --epochs", "--epochs does not go with --to latex, but with csv, jsonl, "),
        ("--to csv --url http://here", "--url does not go with --to csv, but with mlflow"),
        ("--to mlflow --out file", "--out does not go with --to mlflow"),
        ("--to csv --metric valid_loss", "--metric does not go with --to csv, but with latex"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(dq, words, answer):
    result = dq("export", *words.split())

    assert answer in result.stderr
    assert result.exit_code == 2


def test_where_there_are_no_jobs_nothing_is_written(dq, tmp_path):
    result = dq("export", "s7", "--to", "csv", "--out", str(tmp_path / "jobs.csv"))

    assert (result.exit_code, result.stdout) == (2, "")
    assert "There is no sweep s7" in result.stderr
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_named_with_what_installs_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)  # Python's way to say that there is none

    with pytest.raises(DqError, match=r"needs pyarrow\. Type: pip install 'dq\[export\]'"):
        write_parquet(job_table([job(1)]), tmp_path / "jobs.parquet")

    assert not list(tmp_path.iterdir())


# MLflow, where it does not answer as it should; the real server is in the integration tests


@contextmanager
def answering(*answers: tuple[int, str]) -> Iterator[tuple[str, list]]:
    """Run a server that gives these answers in turn; give its URL and the requests it gets."""
    remaining, requests = list(answers), []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requests.append((self.path, dict(self.headers)))
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, body = remaining.pop(0)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body.encode())

        do_POST = do_GET  # noqa: N815 - the name is http.server's

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", requests
        finally:
            server.shutdown()
            thread.join()


FOUND = (200, json.dumps({"experiment": {"experiment_id": "5", "lifecycle_stage": "active"}}))
EMPTY = (200, "{}")


def test_a_server_that_is_not_there_is_named_with_what_starts_one():
    with answering() as (url, _):
        pass

    with pytest.raises(DqError, match=rf"No MLflow server answers at {url}: .*mlflow server"):
        Experiment.open(url, "dq")


@pytest.mark.parametrize("answer", [(200, "<html>hello</html>"), (200, "")])
def test_another_program_is_not_taken_for_mlflow(answer):
    with (
        answering(answer) as (url, _),
        pytest.raises(DqError, match=rf"answers at {url} is not an MLflow server"),
    ):
        Experiment.open(url, "dq")


def test_an_answer_in_html_to_what_was_not_found_is_shortened():
    with (
        answering((404, "<html>not here</html>")) as (url, _),
        pytest.raises(DqError, match=rf"MLflow at {url} refuses: HTTP 404 Not Found"),
    ):
        Experiment.open(url, "dq")


def test_what_mlflow_says_of_an_error_is_passed_on():
    refusal = json.dumps({"error_code": "PERMISSION_DENIED", "message": "not you"})

    with (
        answering((403, refusal)) as (url, _),
        pytest.raises(DqError, match="refuses: not you"),
    ):
        Experiment.open(url, "dq")


def test_an_experiment_in_the_trash_is_not_written_to():
    deleted = {"experiment": {"experiment_id": "5", "lifecycle_stage": "deleted"}}

    with (
        answering((200, json.dumps(deleted))) as (url, _),
        pytest.raises(DqError, match="'dq' is in MLflow's trash"),
    ):
        Experiment.open(url, "dq")


def test_a_password_in_the_url_goes_to_the_server_and_into_no_message():
    with answering((401, "")) as (url, requests):
        place = url.removeprefix("http://")
        with pytest.raises(DqError) as caught:
            Experiment.open(f"http://me:p%40ss@{place}/mlflow/", "a/b")

    ((path, headers),) = requests
    assert path == "/mlflow/api/2.0/mlflow/experiments/get-by-name?experiment_name=a%2Fb"
    assert headers["Authorization"] == "Basic bWU6cEBzcw=="  # me:p@ss
    assert "p@ss" not in str(caught.value)
    assert f"{url}/mlflow refuses: HTTP 401" in str(caught.value)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "127.0.0.1:5000", "ftp://here", "http://"])
def test_what_is_no_web_address_is_refused(url):
    with pytest.raises(UsageError, match=r"give one like http://127\.0\.0\.1:5000"):
        Server(url)


def test_all_pages_of_the_runs_there_are_are_read():
    def page(number: int, **more: str) -> tuple[int, str]:
        tags = {
            "dq.job": str(number),
            "dq.submitted": AT.isoformat(),
            "dq.state": "succeeded",
            "dq.epochs": "3",
        }
        pairs = [{"key": key, "value": value} for key, value in tags.items()]
        run = {"info": {"run_id": f"run{number}"}, "data": {"tags": pairs}}
        return 200, json.dumps({"runs": [run], **more})

    with answering(FOUND, page(1, next_page_token="next"), page(2)) as (url, requests):
        experiment = Experiment.open(url, "dq")
        outcomes = [
            experiment.add(JobDetail(job(number), (), EPOCHS, ()), "here") for number in (1, 2)
        ]

    assert outcomes == ["unchanged", "unchanged"]
    assert len(requests) == 3


def test_a_server_that_dies_in_the_middle_is_an_error_of_one_line():
    with answering(FOUND, EMPTY) as (url, _):
        experiment = Experiment.open(url, "dq")

    with pytest.raises(DqError, match=f"No MLflow server answers at {url}"):
        experiment.add(JobDetail(job(1), (), EPOCHS, ()), "here")
