"""Pages and REST on a real database: the same rows and text as the command line."""

import csv
import io
import json
import re
import time
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from integration import rows
from integration.rows import SPEC, measured_all, spec, submit
from integration.web import open_client
from models.database import Database
from models.errors import DatabaseUnreachable
from models.settings import Settings
from service.analysis.comparison import compare
from service.queries.jobs import list_compared_jobs
from service.queries.selectors import parse_selectors
from service.queries.versions import read_job_version, read_queue_version
from service.reports.comparison_table import comparison_table
from service.reports.detail_tables import repeat_command
from service.reports.table import format_cell, render
from worker.execution.recorder import AttemptUpdate, Recorder

NASTY = '<img src=x onerror=alert(1)>&"\x1b[31m'
PAGES = ["/", "/sweeps", "/jobs", "/compare", "/submit", "/login"]


@pytest.fixture
def client(settings: Settings, database: Database) -> Iterator[TestClient]:
    with open_client(settings, database) as opened:
        yield opened


def run(recorder: Recorder, job_id: int) -> None:
    rows.succeed(recorder, rows.claim(recorder, job_id), AttemptUpdate(measured_all()))


@pytest.fixture
def finished(database: Database, recorder: Recorder) -> list[int]:
    """A sweep of two configurations with two seeds each, all run."""
    ids = submit(database, *(spec(seed=seed, keep=(keep,)) for seed in (0, 1) for keep in (1, 0.5)))
    for job_id in ids:
        run(recorder, job_id)
    return ids


@pytest.mark.parametrize("page", PAGES)
def test_pages_of_an_empty_database_say_what_to_type(client, page):
    answer = client.get(page)

    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    if page not in {"/submit", "/login"}:
        assert "dq submit" in answer.text


def test_the_queue_shows_running_and_queued_jobs_and_workers(client, database, recorder):
    running, waiting, held = submit(database, *(spec(seed=seed) for seed in range(3)))
    rows.record(recorder, rows.claim(recorder, running), AttemptUpdate(measured_all()[:1]))
    rows.change(database, running, batches_done=6)
    rows.change(database, held, held=True)
    rows.add_worker(database, "cpu0-1@here")

    page = client.get("/").text
    queue = client.get("/api/v1/queue").json()

    assert [each["job"]["job_id"] for each in queue["running"]] == [running]
    assert queue["running"][0]["seconds_left"] == pytest.approx(2 * 0.25)
    assert [each["job_id"] for each in queue["queued"]] == [waiting, held]
    assert queue["workers"][0]["device"] == "cpu"
    assert 'value="1.50" max="3" aria-label="epochs of job 1"' in page, "6 of 12 batches"
    assert "cpu0-1@here" in page
    assert ">held<" in page


def test_the_comparison_has_the_rows_of_the_command_line(client, database, finished):
    runs = list_compared_jobs(database, parse_selectors(["s1"]))
    table = comparison_table(compare(runs), selector="s1")

    page = client.get("/compare?jobs=s1").text
    answer = client.get("/api/v1/comparison?jobs=s1").json()

    for row in table.rows:
        for column in table.columns:
            assert f">{format_cell(row, column)}<" in page.replace("&lt;", "<")
    assert [row["verdict"] for row in answer["comparison"]["rows"]] == [
        row["verdict"] for row in table.rows
    ]
    assert answer["notes"] == list(table.footnotes)
    assert client.get("/compare.csv?jobs=s1").text == f"{write(table, 'csv')}\n"
    assert client.get("/compare.md?jobs=s1").text == f"{write(table, 'md')}\n"
    assert list(csv.DictReader(io.StringIO(client.get("/compare.csv?jobs=s1").text)))


def test_a_comparison_by_a_field_has_the_pooled_rows_and_the_strata(client, database, recorder):
    specs = [spec(seed=0, keep=(keep,), lr=lr) for lr in (0.1, 0.2) for keep in (1, 0.5)]
    for job_id in submit(database, *specs):
        run(recorder, job_id)
    address = "?jobs=s1&by=lr&baseline=keep[0]==0.5"

    page = client.get(f"/compare{address}").text
    answer = client.get(f"/api/v1/comparison{address}").json()["comparison"]

    assert ">Within each stratum</h2>" in page
    assert 'name="by" value="lr"' in page
    assert "/compare.csv?jobs=s1&amp;baseline=keep%5B0%5D%3D%3D0.5&amp;by=lr" in page
    assert [(row["label"], row["strata"]) for row in answer["rows"]] == [
        ("keep 0.5", 2),
        ("no dropout", 2),
    ]
    assert [stratum["values"] for stratum in answer["strata"]] == [{"lr": 0.1}, {"lr": 0.2}]
    assert len(client.get(f"/compare.csv{address}").text.splitlines()) == 1 + 2 + 4
    for link in re.findall(r'href="([^"]*/compare[^"]*)"', page):
        assert client.get(link.replace("&amp;", "&")).status_code == 200, link
    assert client.get("/compare?jobs=s1&by=epochs").status_code == 400


def write(table, kind) -> str:
    return render(table, kind, width=0, color=False, ascii=False)


def test_every_link_on_the_pages_works(client, finished):
    pages = ["/", "/sweeps", "/jobs?limit=2", "/jobs?limit=2&sort=lr", "/jobs/1"]
    texts = [client.get(page).text for page in [*pages, "/compare?jobs=s1"]]
    found = {link for text in texts for link in re.findall(r'href="([^"]*)"', text)}

    for link in sorted(found):
        assert client.get(link.replace("&amp;", "&")).status_code == 200, link
        assert "=&" not in link
        assert not link.endswith("=")


def test_the_address_holds_the_whole_state_of_a_comparison(client, finished):
    plain = figure(client.get("/compare?jobs=s1").text)["layout"]["yaxis"]
    chosen = client.get("/compare?jobs=s1&metric=valid_loss&runs=1&log=1").text

    assert "type" not in plain
    assert figure(chosen)["layout"]["yaxis"]["type"] == "log"
    assert 'name="runs" value="1" checked' in chosen
    assert '<option value="valid_loss" selected>' in chosen
    assert "metric=valid_loss" in re.search(r'href="(/compare\.csv[^"]*)', chosen)[1]


def figure(page: str, name: str = "curves") -> dict | None:
    return json.loads(re.search(rf'id="{name}-figure" data-region>(.*?)</script>', page)[1])


def list_verdicts(page: str) -> list[str]:
    return re.findall(r'class="verdict [^>]*>([^<]*)<', page)


def test_a_comparison_is_sorted_by_any_of_its_columns_both_ways(client, database, recorder):
    keeps = (1, 0.5, 0.8)
    for job_id in submit(database, *(spec(seed=s, keep=(k,)) for k in keeps for s in (0, 1))):
        run(recorder, job_id)

    def read(sort: str) -> str:
        return client.get(f"/compare?jobs=s1&metric=valid_loss&sort={sort}").text

    plain = client.get("/compare?jobs=s1").text
    for name in re.findall(r"sort=(\w+)%3Aasc", plain):
        up, down = read(f"{name}:asc"), read(f"{name}:desc")
        assert 'aria-sort="ascending"' in up
        assert f"metric=valid_loss&amp;sort={name}%3Adesc" in up
        assert 'aria-sort="descending"' in down
        assert (
            sorted(list_verdicts(up)) == sorted(list_verdicts(down)) == sorted(list_verdicts(plain))
        )
    assert list_keeps(read("keep:asc")) == ["none", "0.5", "0.8"], "the baseline stays first"
    assert list_keeps(read("keep:desc")) == ["none", "0.8", "0.5"]
    assert 'name="sort" value="keep:asc"' in read("keep:asc")
    rows = csv.DictReader(io.StringIO(client.get("/compare.csv?jobs=s1&sort=keep").text))
    assert [row["keep"] for row in rows] == ["1.0", "0.8", "0.5"]


def list_keeps(page: str) -> list[str]:
    return re.findall(r'<td[^>]*class="c-keep[^>]*>([^<]*)<', page)


def test_a_comparison_is_drawn_by_keep_rate_and_as_differences(client, finished):
    page = client.get("/compare?jobs=s1").text

    rates, differences = figure(page, "rates"), figure(page, "differences")
    assert rates["data"][-1]["x"] == [0.5, 1.0]
    assert differences["layout"]["yaxis"]["ticktext"] == ["keep 0.5<br>too few seeds: 2 more"]
    assert "dot: a seed; line: mean over seeds, with its 95 % interval" in page
    assert "thin: single seeds, where too few for an interval" in page


def test_too_many_runs_are_not_compared(client, finished, monkeypatch):
    monkeypatch.setattr("service.web.params.MAX_RUNS", 3)

    answer = client.get("/compare?jobs=s1")

    assert answer.status_code == 400
    assert "4 jobs are too many to compare" in answer.text


def test_a_job_page_shows_its_epochs_its_log_and_the_command_to_repeat_it(
    client, database, finished
):
    page = client.get("/jobs/1").text

    assert repeat_command(spec(keep=(1,))) in page
    assert "a processor" not in page  # no attempt has a provenance
    assert "claimed by cpu0-1@here" in page
    assert "All 3 epochs as a table" in page
    assert len(json.loads(re.search(r'id="loss-figure"[^>]*>(.*?)<', page)[1])["data"][0]["x"]) == 3


@pytest.mark.parametrize("path", ["/jobs/77", "/api/v1/jobs/77", "/api/v1/jobs/77/log", "/nowhere"])
def test_an_unknown_job_or_address_is_a_404(client, path):
    assert client.get(path).status_code == 404


READS = (
    *(
        "/healthz",
        "/readyz",
        "/metrics",
        "/stream",
        "/static/1/page.css",
        "/static/1/plotly.min.js",
    ),
    *("/api/v1/openapi.json", "/api/v1/queue", "/api/v1/jobs", "/api/v1/jobs/1", "/api/v1/sweeps"),
    *("/api/v1/comparison?jobs=s1", "/compare?jobs=s1", "/compare.csv?jobs=s1", "/jobs/1"),
    *("/jobs?where=lr+<", "/jobs/77", "/api/v1/nowhere"),
)


@pytest.mark.parametrize("backend", ["sqlite"])
@pytest.mark.parametrize("path", [*PAGES, *READS])
def test_head_is_answered_like_get_without_a_body(client, finished, path):
    head = client.head(path)

    assert head.content == b""
    if path == "/stream":  # a GET of it has no end
        assert head.headers["content-type"].startswith("text/event-stream")
        assert head.status_code == 200
    else:
        answer = client.get(path)
        assert head.status_code == answer.status_code
        assert head.headers["content-type"] == answer.headers["content-type"]


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ("queued", "No epoch is finished yet. The curves appear here while the job trains."),
        ("failed", "This job ended before its first epoch, so there are no curves."),
        ("cancelled", "This job ended before its first epoch, so there are no curves."),
    ],
)
def test_a_job_without_epochs_has_a_sentence_and_hidden_charts(client, database, state, message):
    (job_id,) = submit(database, SPEC)
    rows.change(database, job_id, state=state)

    page = client.get(f"/jobs/{job_id}").text

    assert message in page
    assert len(re.findall(r'class="chart" id="\w+"[^>]* hidden>', page)) == 2
    assert [figure(page, kind) for kind in ("accuracy", "loss")] == [None, None]


def test_a_comparison_without_epochs_has_a_sentence_and_a_hidden_chart(client, database):
    submit(database, spec(), spec(keep=(0.5,)))

    page = client.get("/compare?jobs=s1").text

    assert figure(page) is None
    assert 'aria-label="Learning curves' in page
    assert "The curves appear here while the jobs train." in page


def test_a_database_that_fails_while_the_curves_are_read_is_not_taken_for_no_curves(
    client, finished, monkeypatch
):
    def fail(*_: object) -> None:
        raise DatabaseUnreachable("No database")

    monkeypatch.setattr("service.web.params.list_curves", fail)

    assert client.get("/compare?jobs=s1").status_code == 503


def test_the_chart_counts_the_same_seeds_as_the_table(client, database, recorder):
    ids = submit(database, *(spec(seed=seed, keep=(keep,)) for seed in (0, 1) for keep in (1, 0.5)))
    run(recorder, ids[0])
    rows.record(recorder, rows.claim(recorder, ids[1]), AttemptUpdate(measured_all()[:1]))
    rows.record(recorder, rows.claim(recorder, ids[2]), AttemptUpdate(measured_all()[:1]))

    page = client.get("/compare?jobs=s1").text
    table = client.get("/api/v1/comparison?jobs=s1").json()["comparison"]["rows"]

    names = [trace["name"] for trace in figure(page)["data"] if "name" in trace]
    assert names == ["no dropout (n = 1, 1 running)", "keep 0.5 (n = 0, 1 running)"]
    assert [(row["n"], row["running"], row["queued"]) for row in table] == [(1, 1, 0), (0, 1, 1)]
    assert ">1 running, 1 queued</td>" in page
    assert "dq submit --fill s1 --seeds 4" in page


@pytest.mark.parametrize("jobs", ["s2 s1", "s1,s2", " 1..2\ts2 ", "s1 , tag:my paper"])
def test_the_jobs_field_takes_several_selectors(client, database, jobs):
    submit(database, spec(seed=0), spec(seed=1))
    submit(database, spec(seed=2), tags=("my paper",))

    assert len(client.get("/api/v1/jobs", params={"jobs": jobs}).json()["rows"]) == 3
    assert client.get("/jobs", params={"jobs": jobs}).status_code == 200


def test_every_page_of_failed_jobs_says_why_and_what_to_type(client, database):
    ids = submit(database, *(spec(seed=seed, lr=5) for seed in range(2)))
    for job_id in ids:
        rows.change(database, job_id, state="failed", reason=f"diverged at epoch {job_id}")

    for path in ("/jobs?jobs=s1", "/compare?jobs=s1", "/jobs/1"):
        page = client.get(path).text
        assert "diverged at epoch 1. Its loss became infinite or NaN." in page
        assert "<code>dq submit --like 1 --lr 0.5</code>" in page
    assert "2 jobs failed: diverged" in client.get("/jobs?jobs=s1").text
    assert '<span class="reason">diverged at epoch 1</span>' in client.get("/sweeps").text
    assert "2 seeds failed" not in client.get("/jobs").text


def test_an_error_page_has_the_filter_to_correct_it(client, finished):
    for path, message in {
        "/jobs?jobs=s1&sort=age&limit=7": "Sort age: give one of",
        "/jobs?limit=999": "limit &#39;999&#39;: give at most 250",
        "/sweeps?jobs=nonsense": "names no jobs",
        "/compare?jobs=s1&baseline=x&metric=valid_loss": "The baseline",
        "/compare?jobs=s1&sort=age": "give one of mean, diff, p,",
        "/compare?jobs=s1&where=lr+<": "Where &#39;lr &lt;&#39;: a value is missing",
    }.items():
        answer = client.get(path)
        assert answer.status_code in {400, 422}
        assert message in answer.text
        for name, value in re.findall(r"[?&](\w+)=([^&]+)", path):
            shown = value.replace("+", " ").replace("<", "&lt;")
            assert f'name="{name}" value="{shown}"' in answer.text
        assert ">Try again</button>" in answer.text


def test_jobs_are_filtered_sorted_and_paged_as_dq_results_does(client, finished):
    first = client.get("/api/v1/jobs?where=keep[0]==0.5&sort=seed:asc&limit=1").json()
    second = client.get(
        f"/api/v1/jobs?where=keep[0]==0.5&sort=seed:asc&limit=1&after={first['next']}"
    ).json()

    assert [row["job_id"] for row in first["rows"] + second["rows"]] == [2, 4]
    assert second["next"] is None
    page = client.get("/jobs?sort=valid_loss&limit=2").text
    assert 'aria-sort="ascending"' in page
    assert 'rel="next"' in page
    assert "sort=valid_loss%3Adesc" in page


def test_sweeps_count_their_jobs_including_shared_ones(client, database, finished):
    submit(database, spec(seed=0, keep=(1,)), spec(seed=9), reuse=True, name="again")

    page = client.get("/api/v1/sweeps?limit=1").json()
    rest = client.get(f"/api/v1/sweeps?after={page['next']}").json()
    chosen = client.get("/api/v1/sweeps?where=seed==9").json()

    assert page["rows"][0]["name"] == "again"
    assert page["rows"][0]["states"]["succeeded"] == 1
    assert page["rows"][0]["states"]["queued"] == 1
    assert [row["sweep_id"] for row in rest["rows"]] == [1]
    assert rest["rows"][0]["configurations"] == 2
    assert rest["rows"][0]["best_valid_accuracy"] == pytest.approx(0.43)
    assert [row["sweep_id"] for row in chosen["rows"]] == [2]


def test_stored_text_is_escaped_on_every_page(client, database):
    (job_id,) = submit(database, SPEC, name=NASTY, tags=('<b title="x">',))
    rows.change(database, job_id, note=NASTY, reason=NASTY, state="failed")

    pages = [client.get(path).text for path in ("/", "/sweeps", "/jobs", "/jobs/1", "/compare")]

    assert all("<img" not in page and "<b " not in page and "\x1b" not in page for page in pages)
    assert all("&lt;img src=x" in page for page in pages[1:])


@pytest.mark.parametrize("backend", ["postgresql"])  # a locked SQLite file can still be read
def test_without_a_database_everything_but_healthz_answers_503(client, database, outage):
    with outage(database):
        found = {path: client.get(path) for path in ("/", "/api/v1/queue", "/readyz", "/healthz")}

    assert found["/"].status_code == 503
    assert "does not answer" in found["/"].text
    assert found["/api/v1/queue"].status_code == 503
    assert found["/readyz"].status_code == 503
    assert found["/readyz"].json()["redis"] == "ok"
    assert found["/healthz"].status_code == 200
    assert client.get("/readyz").json() == {"database": "ok", "redis": "ok"}


@pytest.mark.parametrize("backend", ["postgresql"])
def test_with_a_read_only_database_readyz_answers_503_with_the_reason(client, database, postgres):
    postgres.execute("ALTER DATABASE migrated SET default_transaction_read_only = on")
    database.engine.dispose()
    try:
        answer, page = client.get("/readyz"), client.get("/")
    finally:
        postgres.execute("ALTER DATABASE migrated RESET default_transaction_read_only")
        database.engine.dispose()

    assert answer.status_code == 503
    assert "is read-only" in answer.json()["database"]
    assert page.status_code == 200  # the pages still work


@pytest.mark.parametrize("backend", ["sqlite"])
def test_without_redis_readyz_answers_503(client, redis):
    redis.stop()

    answer = client.get("/readyz")

    assert answer.status_code == 503
    assert answer.json()["redis"].startswith("Redis does not answer")


def test_the_version_of_a_page_changes_with_its_content(database, recorder):
    one, other = submit(database, spec(seed=0), spec(seed=1))

    def read_versions() -> tuple[str, str, str]:
        jobs = read_job_version(database, one), read_job_version(database, other)
        return read_queue_version(database), *jobs

    submitted = read_versions()
    claim = rows.claim(recorder, one)
    claimed = read_versions()
    rows.record(recorder, claim, AttemptUpdate(measured_all()[:1]))
    queue, changed, unchanged = map(set, zip(submitted, claimed, read_versions(), strict=True))

    assert (len(queue), len(changed), len(unchanged)) == (3, 3, 1)


def test_plotly_js_is_compressed_and_may_be_cached_for_ever(client):
    page = client.get("/jobs/1").text or ""
    answer = client.get("/static/1/plotly.min.js", headers={"accept-encoding": "gzip"})

    assert "cdn" not in page
    assert answer.headers["content-encoding"] == "gzip"
    assert "immutable" in answer.headers["cache-control"]
    assert answer.text.startswith("/**\n* plotly.js v")
    missing = client.get("/static/1/secret")
    assert missing.status_code == 404
    assert missing.headers["cache-control"] == "no-store"


def test_each_page_is_rendered_within_two_seconds(client, database, finished):
    for path in (*PAGES, "/jobs/1", "/compare?jobs=s1"):
        client.get(path)
        started_at = time.perf_counter()
        client.get(path)
        assert time.perf_counter() - started_at < 2
