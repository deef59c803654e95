"""The passwords that `make secrets` makes."""

import os
import stat
import subprocess
from pathlib import Path

import pytest

MAKE = Path(__file__).parents[2] / "deploy" / "make-secrets"


def test_secrets_are_made_once_and_kept_from_everybody_else_on_the_host(tmp_path):
    make = [MAKE, tmp_path / "secrets"]

    subprocess.run(make, check=True)
    first = {each.name: each.read_text() for each in (tmp_path / "secrets").iterdir()}
    subprocess.run(make, check=True)
    second = {each.name: each.read_text() for each in (tmp_path / "secrets").iterdir()}

    assert first == second
    assert set(first) == {"db_password", "redis_password", "web_token", "client.env"}
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "secrets" / "client.env").stat().st_mode) == 0o600
    assert len({first[name] for name in ("db_password", "redis_password", "web_token")}) == 3
    assert all(len(first[name]) == 40 for name in ("db_password", "redis_password", "web_token"))


@pytest.mark.parametrize(
    ("variables", "places"),
    [
        ({}, ["@127.0.0.1:5432/dq", "@127.0.0.1:6379/0"]),
        (
            {"LISTEN": "10.0.0.5", "DB_PORT": "5433", "REDIS_PORT": "6380"},
            ["@10.0.0.5:5433/dq", "@10.0.0.5:6380/0"],
        ),
    ],
)
def test_the_two_variables_name_the_place_where_the_stack_listens(tmp_path, variables, places):
    path = {"PATH": os.environ["PATH"]}

    subprocess.run([MAKE, tmp_path / "secrets"], env=path | variables, check=True)

    lines = (tmp_path / "secrets" / "client.env").read_text().splitlines()
    assert [line[line.index("@") :] for line in lines] == places
