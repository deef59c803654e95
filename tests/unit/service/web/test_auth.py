import pytest

from models.errors import UsageError
from models.settings import Settings
from service.web.auth import Access, is_loopback, open_access

TOKEN = "a-token-of-the-tests"


def test_a_token_admits_who_has_it_and_nobody_else():
    access = Access(TOKEN)

    assert access.admits(TOKEN)
    assert not access.admits("another-token-of-tests")
    assert not access.admits("")
    assert not access.admits("tökén")


def test_a_session_is_open_to_its_cookie_alone():
    access = Access(TOKEN)

    cookie = access.open_session()

    assert access.is_open(cookie)
    assert TOKEN not in cookie
    assert not Access("another-token-of-tests").is_open(cookie)
    assert not access.is_open(cookie[:-1])
    assert not access.is_open("")
    assert not access.is_open(f"9999999999.00.{cookie.rpartition('.')[2]}")


def test_a_session_ends_by_itself(monkeypatch):
    access = Access(TOKEN)
    monkeypatch.setattr("service.web.auth.time.time", lambda: 0.0)
    cookie = access.open_session()
    monkeypatch.setattr("service.web.auth.time.time", lambda: 13 * 3600.0)

    assert not access.is_open(cookie)


def test_a_form_bears_the_stamp_of_its_own_session_alone():
    access = Access(TOKEN)
    one, other = access.open_session(), access.open_session()

    assert access.bears_stamp(one, access.stamp(one))
    assert not access.bears_stamp(one, access.stamp(other))
    assert not access.bears_stamp(one, "")


def test_servers_on_one_host_do_not_share_a_cookie():
    assert Access(TOKEN).cookie != Access("another-token-of-tests").cookie


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.9", "::1", "localhost"])
def test_on_this_host_alone_a_token_is_drawn(host):
    one, other = open_access(Settings(), host), open_access(Settings(), host)

    assert is_loopback(host)
    assert len(one.token) >= 32
    assert one.token != other.token


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "queue-host"])
def test_where_other_hosts_reach_it_a_token_must_be_set(host):
    with pytest.raises(UsageError, match="DQ_WEB_TOKEN"):
        open_access(Settings(), host)

    assert open_access(Settings(web_token=TOKEN), host).token == TOKEN


def test_a_token_may_lie_in_a_file(tmp_path):
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")

    assert open_access(Settings(web_token_file=file), "0.0.0.0").token == TOKEN


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"\n", "is empty: write the secret into it"),
        (b"short", "has 5 characters: give at least 16"),
        (b"\xff\xfe", "cannot be read: it is no text"),
        (None, "cannot be read: No such file or directory"),
    ],
)
def test_a_file_without_a_good_token_is_refused_with_the_reason(tmp_path, content, told):
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(UsageError, match=told):
        open_access(Settings(web_token_file=file), "127.0.0.1")


def test_two_tokens_are_an_error_that_shows_neither(tmp_path):
    file = tmp_path / "token"
    file.write_text("another token than that")

    with pytest.raises(UsageError, match="DQ_WEB_TOKEN_FILE, too: unset one") as refusal:
        open_access(Settings(web_token=TOKEN, web_token_file=file), "0.0.0.0")

    assert TOKEN not in str(refusal.value)


def test_a_token_shows_in_no_setting_that_is_printed():
    assert TOKEN not in repr(Settings(web_token=TOKEN))
