"""Secrets in every place of both URLs, and all that commands, logs and pages say with them."""

import logging

import pytest
from click.testing import CliRunner

from integration.web import open_client
from models.database import Database
from models.settings import Settings
from service.cli import main

SECRET = "s3cr3t"
#: Nobody listens there.
NOWHERE = "127.0.0.1:1"
BROKER = f"rediss://user:{SECRET}@{NOWHERE}/0?ssl_password={SECRET}"
DATABASE = (
    f"postgresql://user:{SECRET}@{NOWHERE}/dq?password={SECRET}&sslpassword={SECRET}"
    f"&oauth_client_secret={SECRET}&options=-csearch_path%3Dlab"
)
SUBMIT = ["submit", "--dataset", "digits", "--hidden", "8x2", "--epochs", "1", "--seeds", "1"]
COMMANDS = [
    ["doctor", "--ready"],
    ["doctor", "--ready", "--json"],
    ["doctor", "--live"],
    SUBMIT,
    [*SUBMIT, "--force", "--json"],
    ["status", "--json"],
    ["pause"],
    ["resume"],
    ["show", "1", "--json"],
    ["show", "1", "--why"],
    ["logs", "1"],
    ["cancel", "1"],
    ["retry", "1"],
    ["workers", "--json"],
    ["results", "--json"],
    ["metrics"],
    ["db", "current"],
    ["db", "check"],
    ["db", "upgrade"],
]


@pytest.mark.parametrize("urls", [{"BROKER": BROKER}, {"BROKER": BROKER, "DATABASE": DATABASE}])
def test_no_command_shows_a_secret_of_a_url(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    urls: dict[str, str],
):
    for name, url in urls.items():
        monkeypatch.setenv(f"DQ_{name}_URL", url)
    caplog.set_level(logging.DEBUG)

    said = [CliRunner().invoke(main, command) for command in COMMANDS]

    settings = Settings.load()
    with open_client(settings, Database(settings.sql_url)) as client:
        pages = [client.get(path).text for path in ("/", "/submit", "/readyz", "/api/v1/queue")]

    words = "".join(
        pages + [each.output for each in said] + [*capfd.readouterr()] + caplog.messages
    )
    assert NOWHERE in words
    assert "***" in words
    assert SECRET not in words
    assert not [each for each in said if each.exc_info and each.exc_info[0] is not SystemExit]


ODD = [
    ("BROKER", f"redis://{NOWHERE}?password={SECRET}"),
    ("BROKER", f"redis://:{SECRET}@{NOWHERE}?db=3"),
    ("BROKER", f"redis://:1?{SECRET}@{NOWHERE}"),
    ("DATABASE", f"postgresql://u:{SECRET}@{NOWHERE}/dq?bogus={SECRET}"),
    ("DATABASE", f"postgresql://u:{SECRET}@{NOWHERE},{NOWHERE}/dq"),
    ("DATABASE", f"mysql://u:{SECRET}@{NOWHERE}/dq"),
]


@pytest.mark.parametrize(("name", "url"), ODD)
def test_a_url_that_is_refused_is_refused_before_a_row_is_written_and_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, name: str, url: str
):
    with monkeypatch.context() as odd:
        odd.setenv(f"DQ_{name}_URL", url)
        refused = CliRunner().invoke(main, SUBMIT)
    listed = CliRunner().invoke(main, ["results", "--json"])

    assert refused.exit_code == 2
    assert f"DQ_{name}_URL: " in refused.output
    assert SECRET not in refused.output
    assert listed.stdout.strip() == "[]"
