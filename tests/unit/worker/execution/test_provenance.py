import json
import os
import platform
import re
import shutil
import socket
import subprocess
from dataclasses import asdict, fields
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

import models
from models.provenance import Provenance
from worker.execution import provenance as module
from worker.execution.provenance import git_commit, provenance

HASH = "ab" * 32


@pytest.fixture
def checkout(monkeypatch, tmp_path):
    """A git repository with one commit, which dq seems to run from."""
    if not shutil.which("git"):
        pytest.skip("git is not installed")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    (tmp_path / "file").write_text("content")
    for words in (
        ["init", "--quiet"],
        ["add", "file"],
        ["-c", "user.name=n", "-c", "user.email=e", "commit", "--quiet", "--message=m"],
    ):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    run_from(monkeypatch, tmp_path)
    yield tmp_path
    git_commit.cache_clear()


def run_from(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setattr(module, "_ROOT", folder)
    git_commit.cache_clear()


def test_a_result_says_what_software_machine_and_data_it_depends_on():
    found = provenance(torch.device("cpu"), HASH)

    assert found.dq == version("dq")
    assert found.python == platform.python_version()
    assert found.torch == torch.__version__
    assert found.host == socket.gethostname()
    assert found.threads == torch.get_num_threads()
    assert found.dataset_hash == HASH
    assert found.device


def test_every_field_can_be_kept_as_json():
    found = asdict(provenance(torch.device("cpu"), HASH))

    assert json.loads(json.dumps(found)) == found
    assert set(found) == {field.name for field in fields(Provenance)}


def test_the_checkout_that_is_asked_is_the_one_dq_runs_from():
    assert Path(models.__file__).parent.parent == module._ROOT


def test_in_a_checkout_the_commit_is_named(checkout):
    assert re.fullmatch(r"[0-9a-f]{40}", git_commit() or "")


def test_a_commit_with_changes_is_marked(checkout):
    clean = git_commit()
    (checkout / "file").write_text("other content")
    git_commit.cache_clear()

    assert git_commit() == f"{clean}-dirty"


def test_outside_a_checkout_there_is_no_commit_even_within_another_repository(
    checkout, monkeypatch
):
    site_packages = checkout / "venv" / "site-packages"
    site_packages.mkdir(parents=True)
    run_from(monkeypatch, site_packages)

    assert git_commit() is None


def test_without_git_there_is_no_commit(checkout, monkeypatch):
    monkeypatch.setenv("PATH", str(checkout))

    assert git_commit() is None


def test_asking_git_takes_no_lock_that_a_commit_of_the_user_could_meet(checkout):
    index = checkout / ".git" / "index"
    (checkout / "file").touch()  # the index is out of date now, and `git status` would renew it
    before = index.stat().st_mtime_ns

    git_commit()

    assert index.stat().st_mtime_ns == before
