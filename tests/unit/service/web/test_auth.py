import pytest

from models.errors import UsageError
from models.settings import Settings
from service.web.auth import Access, is_loopback, open_access

TOKEN = "a-token-of-the-tests"


def test_only_the_token_itself_is_accepted():
    access = Access(TOKEN)

    assert access.is_token(TOKEN)
    assert not access.is_token("another-token-of-tests")
    assert not access.is_token("")
    assert not access.is_token("tökén")


def test_only_the_cookie_of_a_session_opens_it():
    access = Access(TOKEN)

    cookie = access.open_session()

    assert access.is_open(cookie)
    assert TOKEN not in cookie
    assert not Access("another-token-of-tests").is_open(cookie)
    assert not access.is_open(cookie[:-1])
    assert not access.is_open("")
    assert not access.is_open(f"9999999999.00.{cookie.rpartition('.')[2]}")


def test_a_session_expires(monkeypatch):
    access = Access(TOKEN)
    monkeypatch.setattr("service.web.auth.time.time", lambda: 0.0)
    cookie = access.open_session()
    monkeypatch.setattr("service.web.auth.time.time", lambda: 13 * 3600.0)

    assert not access.is_open(cookie)


def test_a_csrf_token_is_valid_for_its_own_session_only():
    access = Access(TOKEN)
    one, other = access.open_session(), access.open_session()

    assert access.is_csrf_token(one, access.make_csrf_token(one))
    assert not access.is_csrf_token(one, access.make_csrf_token(other))
    assert not access.is_csrf_token(one, "")


def test_servers_on_one_host_do_not_share_a_cookie():
    assert Access(TOKEN).cookie != Access("another-token-of-tests").cookie


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.9", "::1", "localhost"])
def test_on_this_host_only_a_token_is_made(host):
    one, other = open_access(Settings(), host), open_access(Settings(), host)

    assert is_loopback(host)
    assert len(one.token) >= 32
    assert one.token != other.token


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "queue-host"])
def test_a_server_that_other_hosts_reach_needs_a_configured_token(host):
    with pytest.raises(UsageError, match="DQ_WEB_TOKEN"):
        open_access(Settings(), host)

    assert open_access(Settings(web_token=TOKEN), host).token == TOKEN


def test_a_token_is_read_from_a_file(tmp_path):
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")

    assert open_access(Settings(web_token_file=file), "0.0.0.0").token == TOKEN


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\n", "is empty: write the secret into it"),
        (b"short", "has 5 characters: give at least 16"),
        (b"\xff\xfe", "cannot be read: it is no text"),
        (None, "cannot be read: No such file or directory"),
    ],
)
def test_a_file_without_a_valid_token_is_refused_with_the_reason(tmp_path, content, message):
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(UsageError, match=message):
        open_access(Settings(web_token_file=file), "127.0.0.1")


def test_two_tokens_are_an_error_that_shows_neither(tmp_path):
    file = tmp_path / "token"
    file.write_text("another token than that")

    with pytest.raises(UsageError, match="DQ_WEB_TOKEN_FILE, too: unset one") as refusal:
        open_access(Settings(web_token=TOKEN, web_token_file=file), "0.0.0.0")

    assert TOKEN not in str(refusal.value)


def test_printed_settings_do_not_contain_the_token():
    assert TOKEN not in repr(Settings(web_token=TOKEN))
