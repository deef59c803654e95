"""Whatever the settings let through, kombu and redis-py read alike, and psycopg knows."""

import pytest
from kombu import Connection
from redis import Redis

from models.errors import UsageError
from models.settings import Settings
from models.urls import for_redis_py, hide_secrets
from servers import RedisServer


def refusal(monkeypatch: pytest.MonkeyPatch, which: str, url: str) -> str:
    monkeypatch.setenv(f"DQ_{which}_URL", url)
    with pytest.raises(UsageError) as refused:
        Settings.load()
    return str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://",
        "redis://host",
        "redis://host:6380/3",
        "redis://:pass%2Fword%20@host",
        "redis://a%40user:pa%3Aword@host:1/15",
        "redis://user@[::1]:6379/0",
        "rediss://user:word@host/2?ssl_cert_reqs=none&ssl_check_hostname=false",
        "rediss://host?ssl_ca_certs=/a%20b.pem&ssl_keyfile=/k&ssl_certfile=/c&ssl_password=p%26w",
    ],
)
def test_kombu_and_redis_py_read_the_same_redis_from_a_url(url: str):
    url = Settings(broker_url=url).redis_url

    one, other = Connection(url), Redis.from_url(for_redis_py(url)).connection_pool

    given = {"host": "localhost", "port": 6379, "db": 0, "username": None, "password": None}
    given |= other.connection_kwargs
    assert (one.hostname or "localhost", one.port or 6379) == (given["host"], given["port"])
    assert int(one.virtual_host.strip("/") or 0) == given["db"]
    assert (one.userid, one.password) == (given["username"], given["password"])
    tls = {name: str(value).lower() for name, value in (one.ssl or {}).items()}
    assert {name for name in given if name.startswith("ssl_")} == {*tls}
    for name in {*tls} - {"ssl_cert_reqs"}:  # kombu makes a constant of that
        assert str(given[name]).lower() == tls[name]


@pytest.mark.parametrize("options", ["", "?virtual_host=3"])
def test_kombu_and_redis_py_read_the_same_socket_from_a_url(redis: RedisServer, options: str):
    url = Settings(broker_url=redis.url_without_dangerous() + options).redis_url

    with Connection(url, transport_options={"global_keyprefix": "dq:"}) as connection:
        connection.SimpleQueue("q").put("message")

    assert Redis.from_url(for_redis_py(url)).llen("dq:q") == 1


_NAMES = "ssl_ca_certs, ssl_ca_path, ssl_cert_reqs, ssl_certfile, ssl_check_hostname"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis://h?db=3", "the option db is not read by all: write redis://host:6379/3"),
        ("redis://h/1?virtual_host=3", "the option virtual_host is not read by all"),
        ("redis://h?password=hidden", "password is not read by all: write redis://user:password@"),
        (
            "redis://h?ssl_cert_reqs=none",
            "ssl_cert_reqs is not known; a URL of this kind takes no options",
        ),
        ("redis://h?socket_timeout=1", "socket_timeout is not known"),
        ("rediss://h?bogus=1", f"the option bogus is not known; the options are {_NAMES}"),
        ("rediss://h?ssl_cert_reqs=CERT_NONE", "ssl_cert_reqs wants required|optional|none"),
        ("rediss://h?ssl_check_hostname=0", "ssl_check_hostname wants true|false"),
        ("rediss://h?ssl_ca_certs=", "ssl_ca_certs wants a value"),
        ("rediss://h?ssl_ca_certs=/a&ssl_ca_certs=/b", "ssl_ca_certs is given twice"),
        ("redis+socket:///s?db=3", "write redis+socket:///folder/redis.sock?virtual_host=3"),
        ("redis+socket:///s?virtual_host=x", "virtual_host wants"),
        ("redis+socket://tmp/s", "name the socket by its whole path"),
        ("redis+socket:///", "name the socket by its whole path"),
        ("redis://:1?hidden@h", "what follows the ? is not known"),
        ("redis://:hid#den@h", "give redis://"),
        ("redis://h/0#hidden", "write %23 for the '#' in it"),
        ("redis://one;redis://hidden", "write %3B for the ';' in it"),
        ("redis://h/0\n", "write %0A for the '\\n' in it"),
        ("redis://h/0/1", "the number of a Redis database"),
        ("redis://h:0", "give redis://"),
        ("redis://[::1", "give redis://"),
        ("unix:///s", "give redis://"),
        ("sentinel://h", "give redis://"),
    ],
)
def test_a_redis_url_that_a_library_misreads_is_refused_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, url: str, said: str
):
    words = refusal(monkeypatch, "BROKER", url)

    assert words.startswith("DQ_BROKER_URL: ")
    assert said in words
    assert "hidden" not in words


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (
            "postgresql://h/dq?bogus=1",
            "the option bogus is not known; the options are those of libpq",
        ),
        ("postgresql://h/dq?prepare_threshold=0", "prepare_threshold is not known"),
        ("postgresql://h/dq?connect_timeout=soon", r"connect_timeout wants \d+"),
        ("postgresql://h/dq?sslmode=", "sslmode wants a value"),
        ("postgresql://h/dq?sslmode=require&sslmode=disable", "sslmode is given twice"),
        ("postgresql://u:1?hidden@h/dq", "what follows the ? is not known"),
        ("postgresql://u:hidden@one:1,two:2/dq", "postgresql://user@/name?host=one:5432&host=two"),
        ("postgresql://[::1", "give postgresql://"),
        ("sqlite:////d/dq.sqlite?mode=ro", "sqlite:// takes no options"),
        ("sqlite:///file:/d/dq.sqlite", "name the file"),
        ("sqlite:///:memory:", "name the file"),
        ("sqlite://dq.sqlite", "SQLite has no host"),
        ("sqlite+pysqlite:////d/dq.sqlite", "give postgresql://"),
    ],
)
def test_a_database_url_that_the_driver_misreads_is_refused_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, url: str, said: str
):
    words = refusal(monkeypatch, "DATABASE", url)

    assert words.startswith("DQ_DATABASE_URL: ")
    assert said in words
    assert "hidden" not in words


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:a,b@h/dq",
        "postgresql://u@[::1]:5433/dq",
        "postgresql://u@/dq?host=/socket/dir",
        "postgresql://u@/dq?host=one:5432&host=two:5433&target_session_attrs=read-write",
        "postgresql://h/dq?options=-csearch_path%3Dlab&connect_timeout=9&sslmode=require",
        "postgresql://h/dq?user=u&password=secret&sslrootcert=system&application_name=a%20b",
        "sqlite:////a%20folder/50%25.sqlite",
        "sqlite:///here.sqlite",
    ],
)
def test_options_that_psycopg_and_sqlite_know_are_accepted(
    monkeypatch: pytest.MonkeyPatch, url: str
):
    monkeypatch.setenv("DQ_DATABASE_URL", url)

    assert Settings.load().sql_url.partition("://")[2] == url.partition("://")[2]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:secret@h:1/0", "redis://:***@h:1/0"),
        ("rediss://u:secret@h?ssl_password=secret&x=1", "rediss://u:***@h?ssl_password=***&x=1"),
        ("postgresql://u:secret@/d?host=/s", "postgresql://u:***@/d?host=/s"),
        ("postgresql://h/d?a=1&password=secret", "postgresql://h/d?a=1&password=***"),
        ("postgresql://h/d?SSLPassword=secret", "postgresql://h/d?SSLPassword=***"),
        ("postgresql://h/d?oauth_client_secret=secret", "postgresql://h/d?oauth_client_secret=***"),
        ("postgresql://h/d?scram_client_key=secret", "postgresql://h/d?scram_client_key=***"),
        ("redis+socket://:secret@/tmp/s", "redis+socket://:***@/tmp/s"),
        ("sqlite:////d/a@b:c.sqlite", "sqlite:////d/a@b:c.sqlite"),
        ("redis://u@h", "redis://u@h"),
    ],
)
def test_no_secret_in_a_url_is_shown(url: str, shown: str):
    assert hide_secrets(url) == shown


def test_a_password_in_the_query_and_another_in_a_file_are_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path
):
    (tmp_path / "password").write_text("one")
    monkeypatch.setenv("DQ_DATABASE_URL", "postgresql://h/dq?password=hidden")
    monkeypatch.setenv("DQ_DATABASE_PASSWORD_FILE", str(tmp_path / "password"))

    with pytest.raises(UsageError, match=r"DQ_DATABASE_URL holds a password.*unset one") as refused:
        _ = Settings.load().sql_url

    assert "hidden" not in str(refused.value)


def test_settings_do_not_show_their_urls():
    settings = Settings(broker_url="redis://:secret@h", database_url="postgresql://u:secret@h/d")

    assert "secret" not in repr(settings)
