"""Actions by REST and from pages: who may do them, and what is refused. On SQLite only."""

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from integration import rows
from integration.rows import SPEC, submit
from integration.web import BEARING, open_client, sign_in
from models.database import Database
from models.settings import Settings
from models.spec import ExperimentSpec


@pytest.fixture
def backend() -> str:
    return "sqlite"


@pytest.fixture
def client(settings: Settings, database: Database) -> Iterator[TestClient]:
    with open_client(settings, database) as opened:
        yield opened


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("/api/v1/jobs?where=lr+<", 400, "a value is missing"),
        ("/api/v1/jobs?jobs=nonsense", 400, "names no jobs"),
        ("/api/v1/jobs?jobs=tag:%00", 400, "NUL"),
        ("/api/v1/jobs?sort=age", 400, "--sort age"),
        ("/api/v1/jobs?after=x", 400, "--after"),
        ("/api/v1/jobs?limit=251", 422, "limit '251': give at most 250"),
        ("/api/v1/jobs?limit=", 422, "limit '': give a whole number"),
        ("/api/v1/jobs/x", 422, "job_id 'x': give a whole number"),
        ("/api/v1/comparison?mix=maybe", 422, "mix 'maybe': give true or false"),
        ("/api/v1/jobs/99999999999", 422, "job_id"),
        ("/api/v1/comparison?metric=age", 422, "metric 'age': give 'valid_accuracy', "),
        ("/api/v1/comparison", 400, "nothing to compare"),
        ("/api/v1/curves", 400, "nothing to compare"),
        ("/api/v1/nowhere", 404, "There is nothing at this address"),
    ],
)
def test_errors_have_one_shape(client, path, status, message):
    answer = client.get(path)

    assert answer.status_code == status
    assert set(answer.json()) == {"status", "title", "detail"}
    assert answer.json()["status"] == status
    assert message in answer.json()["detail"]


def test_a_body_without_a_length_is_cut_off_with_an_error_of_the_same_shape(client):
    body = (b"x" * 100_000 for _ in range(11))

    answer = client.post("/api/v1/jobs/cancel", content=body, headers=BEARING)

    assert answer.status_code == answer.json()["status"] == 413
    assert "at most 1,000,000 bytes" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/v1/jobs/cancel", {"jobs": "1"}),
        ("/api/v1/jobs/hold", {"jobs": "1"}),
        ("/api/v1/sweeps", {"specs": [{}]}),
        ("/api/v1/queue/pause", None),
    ],
)
@pytest.mark.parametrize("header", ["", "Bearer wrong-token-of-tests", "Basic x", "Bearer"])
def test_without_the_token_rest_changes_nothing(client, database, path, body, header):
    submit(database, SPEC)
    before = rows.everything(database)

    sign_in(client)  # a session is not enough: a browser sends its cookie for other sites, too
    answer = client.post(path, json=body, headers={"authorization": header})

    assert answer.status_code == 401
    assert set(answer.json()) == {"status", "title", "detail"}
    assert rows.everything(database) == before


def test_rest_submits_once_per_token_and_reuses_known_jobs(client, database, redis):
    body = {
        "specs": [{"dataset": "digits", "hidden": [16], "batch_size": 100}],
        "seeds": [0, 1, 1],
        "name": "by REST",
        "tags": ["web"],
        "token": "0" * 32,
    }

    first = client.post("/api/v1/sweeps", json=body, headers=BEARING)
    again = client.post("/api/v1/sweeps", json=body, headers=BEARING)
    other = client.post("/api/v1/sweeps", json={**body, "token": None}, headers=BEARING)

    assert first.status_code == 201
    assert first.json() == {
        "sweep_id": 1,
        "created": [1, 2],
        "reused": [],
        "joined": [],
        "unsent": None,
        "remarks": [],
    }
    assert again.json()["sweep_id"] == 1
    assert other.json()["joined"] == [1, 2]
    assert rows.tags(database, 1) == ["web"]


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"specs": []}, 422, "specs"),
        ({"specs": [{"dataset": "cats"}]}, 400, "unknown data set"),
        ({"specs": [{"keep": [0.5, 0.5]}]}, 400, "2 rates for 3 hidden layers"),
        ({"specs": [{"lr": -1}]}, 422, "specs.0.lr -1: give more than 0"),
        ({"specs": [{}], "seeds": [-1]}, 400, "--seed -1"),
        ({"specs": [{"hidden": [True]}]}, 400, "true and false are not numbers"),
        ({"specs": [{}], "max_crashes": True}, 400, "true and false are not numbers"),
        ({"specs": [{}], "tags": ["a,b"]}, 400, "is not a tag"),
        ({"specs": [{}], "name": "x\0"}, 400, "--name"),
        ({"specs": [{}], "typo": 1}, 422, "typo 1: there is no such field"),
        ({"specs": [{}] * 1001}, 422, "specs"),
    ],
)
def test_an_invalid_submit_by_rest_inserts_nothing(client, database, body, status, message):
    answer = client.post("/api/v1/sweeps", json=body, headers=BEARING)

    assert answer.status_code == status
    assert message in answer.json()["detail"]
    assert client.get("/api/v1/jobs").json()["rows"] == []


def test_rest_cancels_retries_holds_and_releases(client, database):
    submit(database, SPEC)

    def act(action: str) -> str:
        answer = client.post(f"/api/v1/jobs/{action}", json={"jobs": "s1"}, headers=BEARING)
        return answer.json()[0]["change"]

    changes = [act(action) for action in ("hold", "release", "cancel", "cancel", "retry")]

    assert changes == ["held", "queued", "cancelled", "already cancelled", "queued"]


def test_rest_pauses_and_resumes_the_queue(client):
    paused = client.post("/api/v1/queue/pause", headers=BEARING).json()
    resumed = client.post("/api/v1/queue/resume", headers=BEARING).json()

    assert (paused["is_paused"], resumed["is_paused"]) == (True, False)


def test_a_page_shows_the_message_of_an_action_once(client, database):
    submit(database, SPEC)
    token = sign_in(client)

    form = {"csrf_token": token, "jobs": "1", "return_to": "/jobs/1"}
    answer = client.post("/act/cancel", data=form)

    assert answer.url.path == "/jobs/1"
    assert "Job 1: cancelled." in answer.text
    assert "Job 1: cancelled." not in client.get("/jobs/1").text
    assert rows.states(database, [1]) == ["cancelled"]


def test_a_page_submits_what_it_previews(client, database):
    token = sign_in(client)
    form = {
        "dataset": "digits",
        "hidden": "16",
        "batch_size": "100",
        "seeds": "2",
        "dropout": "none",
    }

    preview = client.get("/submit", params=form).text
    answer = client.post("/submit", data={**form, "csrf_token": token})

    assert "1 configuration x 2 seeds = 2 jobs" in preview
    assert "--drop 0.1" in client.get("/submit", params={**form, "dropout": "0.1"}).text
    assert "Sweep s1: 2 new jobs." in answer.text
    assert answer.url.query == b"jobs=s1"
    assert rows.states(database, [1, 2]) == ["queued", "queued"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"lr": "fast"}, "Learning rate fast: a learning rate is a finite number above 0"),
        ({"epochs": "1.5"}, "Epochs 1.5: epochs are a whole number"),
        ({"dropout": "0.9,0.8"}, "Keep probabilities 0.9,0.8: "),
        ({"seeds": "many"}, "&#39;many&#39;"),
        ({"tags": "a" * 101}, "100 printable characters"),
        ({"name": "n" * 201}, "Name has 201 characters"),
        ({"priority": "urgent"}, "Priority urgent: give one of"),
        ({"timeout": "soon"}, "Time limit &#39;soon&#39; is "),
        ({"max_crashes": "0"}, "Crash limit 0: write a number from 1 to 1,000"),
        ({"hidden": "16", "seeds": "1001"}, "at most 1,000"),
    ],
)
def test_an_invalid_submit_shows_the_form_as_it_was_filled_in(client, database, wrong, message):
    form = {"hidden": "16", "momentum": "0.5", "name": "mine", **wrong}

    answer = client.post("/submit", data={**form, "csrf_token": sign_in(client)})

    assert answer.status_code == 400
    assert message in answer.text
    for name, value in form.items():
        is_kept = f'name="{name}" value="{value}"' in answer.text
        assert is_kept or name == "priority"
    assert '<details id="more-fields" open>' in answer.text
    assert client.get("/api/v1/jobs").json()["rows"] == []


def test_a_page_submits_with_limits(client, database):
    form = {"dataset": "digits", "hidden": "16", "timeout": "30m", "stall_timeout": "90"}
    form |= {"max_crashes": "5", "keep_checkpoint": "1", "csrf_token": sign_in(client)}

    answer = client.post("/submit", data=form)

    job = rows.job(database, 1)
    assert "Sweep s1: 1 new job." in answer.text
    assert (job.timeout_seconds, job.stall_seconds) == (1800, 90)
    assert (job.max_crashes, job.keep_checkpoint) == (5, True)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"csrf_token": ""}, 403),
        ({"csrf_token": "0" * 64}, 403),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"cookie": "none"}, 401),
    ],
)
def test_a_form_that_another_site_could_have_sent_changes_nothing(client, database, change, status):
    submit(database, SPEC)
    token = change.get("csrf_token", sign_in(client))
    before = rows.everything(database)

    headers = {name: value for name, value in change.items() if name != "csrf_token"}
    if "cookie" in headers:
        client.cookies.clear()
    answer = client.post("/act/cancel", data={"csrf_token": token, "jobs": "1"}, headers=headers)

    assert answer.status_code == status
    assert rows.everything(database) == before


def test_signing_out_ends_the_session(client, database):
    submit(database, SPEC)
    token = sign_in(client)

    client.post("/logout", data={"csrf_token": token})

    assert "Read-only" in client.get("/").text
    assert client.post("/act/cancel", data={"csrf_token": token, "jobs": "1"}).status_code == 401


def test_scripts_and_other_sites_cannot_use_the_session_cookie(client):
    answer = client.get("/login?token=a-token-of-the-tests", follow_redirects=False)

    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert answer.headers["location"] == "/"


def test_a_wrong_token_opens_no_session(client):
    by_address = client.get("/login?token=wrong")
    by_form = client.post("/login", data={"token": "wrong"})

    assert (by_address.status_code, by_form.status_code) == (401, 401)
    assert "not this server's token" in by_form.text
    assert not client.cookies


@pytest.mark.parametrize(
    "return_to", ["//evil.example", "https://evil.example", "/\\evil.example", "x"]
)
def test_an_action_redirects_to_this_server_only(client, database, return_to):
    submit(database, SPEC)
    form = {"csrf_token": sign_in(client), "jobs": "1", "return_to": return_to}

    answer = client.post("/act/hold", data=form, follow_redirects=False)

    assert answer.headers["location"] == "/"


def test_an_empty_selector_selects_no_jobs(client, database):
    submit(database, SPEC)

    answer = client.post("/act/cancel", data={"csrf_token": sign_in(client), "jobs": " , "})

    assert answer.status_code == 400
    assert rows.states(database, [1]) == ["queued"]


def test_openapi_documents_every_response(client):
    document = client.get("/api/v1/openapi.json").json()

    for path, routes in document["paths"].items():
        for verb, route in routes.items():
            success = "201" if (path, verb) == ("/api/v1/sweeps", "post") else "200"
            content = route["responses"][success]["content"]
            kind = "text/plain" if path == "/metrics" else "application/json"
            assert kind == "text/plain" or content[kind]["schema"], f"{verb} {path}"
            assert set(content) == {kind}
            if verb == "post":
                assert "401" in route["responses"]


def test_the_form_has_every_field_of_a_spec(client):
    form = client.get("/submit").text

    asked = {"keep": "dropout", "seed": "seeds"}
    for field in ExperimentSpec.model_fields:
        assert f'name="{asked.get(field, field)}"' in form
