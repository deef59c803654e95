"""Hosts that are upgraded one after the other, with workers of two releases on one database.

The next release is a copy of this one with one migration more.
"""

import json
import shutil
from pathlib import Path

import pytest
from stage import LONG, SHORT, open_stage

import models
from models.spec import ExperimentSpec
from models.tables import REVISION
from service.queries.workers import list_workers

NEXT = f"{int(REVISION) + 1:04}"
MIGRATION = f'''"""What a release may do to the tables of the one before: add to them."""

import sqlalchemy as sa
from alembic import op

revision = "{NEXT}"
down_revision = "{REVISION}"


def upgrade():
    op.add_column("jobs", sa.Column("colour", sa.String(20), nullable=True))
    op.add_column("epochs", sa.Column("warmth", sa.Double(), server_default="0", nullable=False))
    op.create_table("planets", sa.Column("id", sa.Integer(), primary_key=True))
    op.create_index("ix_jobs_colour", "jobs", ["colour"])
    op.execute("UPDATE compatibility SET oldest_revision = '{REVISION}'")
'''


@pytest.fixture(scope="module")
def next_release(tmp_path_factory) -> dict[str, str]:
    """What makes dq, and the worker that it starts, be those of the next release."""
    release = tmp_path_factory.mktemp("release")
    for package in ("models", "service", "worker", "migrations"):
        source = Path(models.__file__).parents[1] / package
        shutil.copytree(source, release / package, ignore=shutil.ignore_patterns("__pycache__"))
    tables = release / "models" / "tables.py"
    before = tables.read_text()
    tables.write_text(before.replace(f'REVISION = "{REVISION}"', f'REVISION = "{NEXT}"'))
    assert tables.read_text() != before
    (release / "migrations" / "versions" / f"r{NEXT}_more.py").write_text(MIGRATION)
    return {"PYTHONPATH": str(release)}


@pytest.fixture
def stage(empty_database_url):
    with open_stage(url=empty_database_url) as stage:
        yield stage


def words(spec: ExperimentSpec, seed: int) -> list[str]:
    """Return what a person types to submit a spec and to wait for it."""
    options = {"dataset": spec.dataset, "hidden": spec.hidden[0], "batch-size": spec.batch_size}
    options |= {"epochs": spec.epochs, "seed": seed}
    typed = [word for name in options for word in (f"--{name}", str(options[name]))]
    return ["submit", *typed, "--wait", "--json"]


def states(done) -> list[str]:
    return [job["state"] for job in json.loads(done.stdout)]


def find_database(stage, **release: str) -> dict[str, str]:
    done = stage.dq("doctor", "--ready", "--json", check=False, **release)
    return next(each for each in json.loads(done.stdout) if each["name"] == "database")


def test_a_job_that_runs_while_the_tables_are_migrated_does_not_notice(
    stage, next_release, undisturbed
):
    job_id = stage.submit_one(LONG)
    stage.wait_for_epochs(job_id)

    upgraded = stage.dq("db", "upgrade", **next_release)
    migrated = stage.job(job_id)
    (state,) = stage.wait_for_end(job_id)

    assert f"{REVISION} -> {NEXT}" in upgraded.stderr
    assert migrated.state == "running"
    assert state == "succeeded"
    assert stage.outcomes(job_id) == ["succeeded"]
    assert stage.figures(job_id) == undisturbed(LONG)


def test_clients_and_workers_of_the_release_before_go_on_and_may_be_restarted(stage, next_release):
    stage.dq("db", "upgrade", **next_release)

    first = stage.dq(*words(SHORT, seed=1))
    stage.worker.process.terminate()
    stage.worker.process.wait(30)
    stage.worker.restart_if_dead()
    second = stage.dq(*words(SHORT, seed=2))
    again = stage.dq("db", "upgrade")
    found = find_database(stage)

    assert states(first) == states(second) == ["succeeded"]
    assert again.stderr == "Up to date.\n"
    assert stage.database.revision() == NEXT
    assert (found["state"], found["fix"]) == ("note", "install the dq that made it")
    assert found["found"].endswith(f"at revision {NEXT}, a newer dq's")


def test_a_release_ahead_of_its_database_refuses_with_what_to_type(stage, next_release):
    for typed in ("submit", "results", "status", "worker --device cpu"):
        done = stage.dq(*typed.split(), check=False, **next_release)

        assert done.returncode == 3, typed
        assert f"is at revision {REVISION}, this dq wants {NEXT}" in done.stderr
        assert "Type: dq db upgrade" in done.stderr
        assert "Traceback" not in done.stderr

    found = find_database(stage, **next_release)
    assert (found["state"], found["fix"]) == ("fail", "dq db upgrade")
    assert stage.database.revision() == REVISION


def test_workers_of_both_releases_share_the_queue_once_the_tables_are_migrated(stage, next_release):
    stage.dq("db", "upgrade", **next_release)
    stage.add_worker(**next_release)
    stage.wait_until(lambda: len(list_workers(stage.database)) == 2, "both workers are there")

    # Of different shapes, or one worker might take them all together.
    jobs = stage.submit(*[LONG.model_copy(update={"batch_size": 20 + more}) for more in range(4)])
    ended = stage.wait_for_end(*jobs)

    workers = {attempt.worker for job_id in jobs for attempt in stage.attempts(job_id)}
    assert ended == ["succeeded"] * 4
    assert len(workers) == 2
