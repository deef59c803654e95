"""Connections to PostgreSQL, direct or through a pooler, that hold no lock for long."""

import re
from typing import Any

from sqlalchemy import URL, Connection, Dialect, Engine, create_engine, event

from models.database_errors import display_url
from models.errors import DatabaseRefused

_LIMITS = {
    "statement_timeout": "20s",
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "20s",
    "timezone": "UTC",
    # Of no meaning to PostgreSQL, which keeps it: a connection without it got no options.
    "dq.limits": "on",
}
_OPTIONS = " ".join(f"-c {name}={value}" for name, value in _LIMITS.items())
_LIMIT_TRANSACTION = "SELECT " + ", ".join(
    f"set_config('{name}', '{value}', true)" for name, value in _LIMITS.items()
)
#: In the messages of PgBouncer and of Amazon's RDS Proxy.
_NO_OPTIONS = re.compile(r"startup parameter|command-line options", re.IGNORECASE)


def make_engine(url: URL) -> Engine:
    """Return a pool of connections; options in the URL take precedence over dq's own."""
    limits = _Limits(url)
    defaults = {
        "connect_timeout": 3,  # seconds
        # Milliseconds: a broken connection is noticed in seconds, not in minutes.
        "tcp_user_timeout": 10_000,
        # By default it is the database's, and from one in SQL_ASCII text comes as bytes.
        "client_encoding": "utf8",
    }
    arguments = {name: value for name, value in defaults.items() if name not in url.query}
    # A pooler sends the next transaction to another server, which has not the statements prepared
    # before. They would save 2 % of PostgreSQL's time for a job.
    arguments |= {"prepare_threshold": None, "options": f"{_OPTIONS} {limits.theirs}".strip()}
    engine = create_engine(url, pool_pre_ping=True, connect_args=arguments)
    event.listen(engine, "do_connect", limits.connect)
    event.listen(engine, "connect", limits.check)
    event.listen(engine, "begin", limits.set_for_transaction)
    return engine


class _Limits:
    """Sets the limits once a connection, or at each BEGIN where a pooler passes on no options.

    There they must not be set for the session, which the pooler gives to other clients.
    """

    def __init__(self, url: URL) -> None:
        given = url.query.get("options", "")
        self._name, self._role = display_url(url), url.username or "dq"
        #: The options that the URL itself asks for.
        self.theirs = given if isinstance(given, str) else " ".join(given)
        self._takes_options = True

    def connect(
        self, dialect: Dialect, _record: Any, args: tuple[Any, ...], params: dict[str, Any]
    ) -> Any:
        """Connect, with options if the server takes them."""
        if self._takes_options:
            try:
                return dialect.connect(*args, **params)
            except dialect.loaded_dbapi.Error as error:
                if not _NO_OPTIONS.search(str(error)):
                    raise
                self._takes_options = False
        return dialect.connect(*args, **params | {"options": None})

    def check(self, connection: Any, record: Any) -> None:
        """Record whether a new connection got its options: some poolers ignore them silently."""
        connection.autocommit = True
        asked = connection.execute("SELECT current_setting('dq.limits', true)")
        record.info["is_limited"] = bool(asked.fetchone()[0])
        connection.autocommit = False
        if self.theirs and not record.info["is_limited"]:
            setting = self.theirs.removeprefix("-c").strip().replace("=", " = ", 1)
            raise DatabaseRefused(
                f"The pooler before {self._name} does not pass on {self.theirs}",
                f"Leave options= out of DQ_DATABASE_URL, and type in psql: "
                f"ALTER ROLE {self._role} SET {setting}",
            )

    def set_for_transaction(self, connection: Connection) -> None:
        """Set the limits for one transaction."""
        if not connection.info["is_limited"]:
            connection.exec_driver_sql(_LIMIT_TRANSACTION)
