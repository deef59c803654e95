"""Checks the URLs of the database and of Redis, and hides the secrets in them."""

import re
from collections import Counter
from collections.abc import Collection, Mapping
from urllib.parse import SplitResult, parse_qsl, urlsplit

_POSTGRES = {"postgres", "postgresql", "postgresql+psycopg"}
_TLS = (
    "ssl_ca_certs",
    "ssl_ca_path",
    "ssl_cert_reqs",
    "ssl_certfile",
    "ssl_check_hostname",
    "ssl_keyfile",
    "ssl_password",
)
#: The options that kombu and redis-py both read; `for_redis_py` translates the last one.
_REDIS = {"redis": (), "rediss": _TLS, "redis+socket": ("virtual_host",)}
_VALUES = {
    "ssl_cert_reqs": "required|optional|none",
    "ssl_check_hostname": "true|false",
    "virtual_host": r"\d+",
    "connect_timeout": r"\d+",
}
#: What to write instead of an option that only one of the two reads.
_NUMBER, _LOGIN = "redis://host:6379/3", "redis://user:password@host"
_INSTEAD = {
    "redis": {"db": _NUMBER, "virtual_host": _NUMBER, "username": _LOGIN, "password": _LOGIN},
    "redis+socket": {
        "db": "redis+socket:///folder/redis.sock?virtual_host=3",
        "username": "redis+socket://user:password@/folder/redis.sock",
        "password": "redis+socket://:password@/folder/redis.sock",
    },
}
_INSTEAD["rediss"] = _INSTEAD["redis"]
#: libpq has about fifty options.
_MOST_LISTED = 20
_SECRET_OPTION = re.compile(r"([?&][^=&]*(?:password|secret|scram_\w+_key)[^=&]*=)[^&#]*", re.I)
_PASSWORD = re.compile(r"(://[^:/?#@]*):[^/?#]*@")


def hide_secrets(url: str) -> str:
    """Return a URL without its passwords, those in its options too."""
    return _PASSWORD.sub(r"\1:***@", _SECRET_OPTION.sub(r"\1***", url))


def for_redis_py(url: str) -> str:
    """Return a URL of Redis as redis-py wants it; kombu has another one for a unix socket."""
    scheme, _, rest = url.partition("://")
    return f"unix://{rest.replace('?virtual_host=', '?db=')}" if scheme == "redis+socket" else url


def for_sqlalchemy(url: str) -> str:
    """Return a URL of the database as SQLAlchemy wants it, with the driver's name."""
    scheme, _, rest = url.partition("://")
    return f"{'postgresql+psycopg' if scheme in _POSTGRES else scheme}://{rest}"


def check_redis(url: str) -> None:
    """Raise ValueError, without any secret, for a URL that kombu or redis-py misreads."""
    parts = _split(url)
    if parts is None or parts.scheme not in _REDIS:
        raise ValueError("give redis://:password@host:6379/0, rediss:// or redis+socket://")
    if strange := re.search(r"[\s;#]", url):
        raise ValueError(f"write %{ord(strange[0]):02X} for the {strange[0]!r} in it")
    if parts.scheme != "redis+socket":
        if not re.fullmatch(r"(/[0-9]*)?", parts.path):
            raise ValueError("what follows the host is the number of a Redis database, like /0")
    elif parts.hostname or not parts.path.strip("/"):
        raise ValueError("name the socket by its whole path: redis+socket:///folder/redis.sock")
    _check_options(parts, _REDIS[parts.scheme], _INSTEAD[parts.scheme])


def check_database(url: str) -> None:
    """Raise ValueError, without any secret, for a URL that SQLAlchemy or its driver misreads."""
    scheme, _, rest = url.partition("://")
    if scheme == "sqlite":
        _check_file(rest)
        return
    if scheme in _POSTGRES and "," in rest.partition("/")[0].rpartition("@")[2]:
        raise ValueError("name several hosts as in postgresql://user@/name?host=one:5432&host=two")
    parts = _split(url)
    if parts is None or scheme not in _POSTGRES:
        raise ValueError("give postgresql://user:password@host/name or sqlite:////folder/file")
    if parts.query:
        from psycopg.pq import Conninfo  # noqa: PLC0415 - 0.1 s, for few URLs

        known = [option.keyword.decode() for option in Conninfo.get_defaults()]
        _check_options(parts, known, {}, repeated={"host"})


def _check_file(rest: str) -> None:
    path, _, options = rest.partition("?")
    if options:
        raise ValueError("sqlite:// takes no options: write %3F for a ? in the file's name")
    if not path.startswith("/"):
        raise ValueError("SQLite has no host: write sqlite:////folder/file")
    if not path.strip("/") or path.startswith(("/:", "/file:")):
        raise ValueError("name the file: sqlite:////folder/file")


def _split(url: str) -> SplitResult | None:
    """Return a URL's parts; None if it has no scheme, or no valid port."""
    try:
        parts = urlsplit(url)
        return parts if "://" in url and parts.port != 0 else None
    except ValueError:
        return None


def _check_options(
    parts: SplitResult,
    allowed: Collection[str],
    instead: Mapping[str, str],
    repeated: Collection[str] = (),
) -> None:
    given = parse_qsl(parts.query, keep_blank_values=True)
    for name, value in given:
        if name in instead:
            raise ValueError(f"the option {name} is not read by all: write {instead[name]}")
        if name not in allowed:
            raise ValueError(_refuse(name, allowed))
        if not re.fullmatch(_VALUES.get(name, ".+"), value):
            raise ValueError(f"the option {name} wants {_VALUES.get(name, 'a value')}")
    counts = Counter(name for name, _ in given)
    if twice := [name for name in counts if counts[name] > 1 and name not in repeated]:
        raise ValueError(f"the option {twice[0]} is given twice")


def _refuse(name: str, allowed: Collection[str]) -> str:
    # What does not look like a name may be the end of a password with an unquoted ?.
    which = f"the option {name}" if re.fullmatch(r"[a-z_]\w{0,40}", name) else "what follows the ?"
    return f"{which} is not known; {_list(allowed)}"


def _list(options: Collection[str]) -> str:
    if not options:
        return "a URL of this kind takes no options"
    if len(options) > _MOST_LISTED:
        return "the options are those of libpq, such as sslmode and connect_timeout"
    return f"the options are {', '.join(options)}"
