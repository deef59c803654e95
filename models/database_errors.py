"""What a database error means: one sentence, what fixes it, and whether waiting helps."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sqlalchemy import URL
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError, IntegrityError

from models.errors import DatabaseRefused, DatabaseUnreachable, ValueRefused
from models.urls import hide_secrets

DatabaseTrouble = DatabaseUnreachable | ValueRefused

_UTF8 = "CREATE DATABASE dq_utf8 ENCODING 'UTF8' TEMPLATE template0"
_OTHER_SCHEMA = (
    "Give dq a schema to itself. Type in psql: CREATE SCHEMA dq AUTHORIZATION {role}; and end "
    "DQ_DATABASE_URL with ?options=-csearch_path%3Ddq"
)
_OTHER_FILE = "Name a file for dq alone in DQ_DATABASE_URL"


@dataclass(frozen=True)
class Meaning:
    """What is wrong with "the database X", and what fixes it; {cause} is the driver's message."""

    found: str
    fix: str = "Type: dq doctor"
    kind: type[DatabaseTrouble] = DatabaseUnreachable
    #: Whether the pooled connections are of no more use.
    is_stale: bool = False


_OUTAGE = Meaning("does not answer: {cause}")
_FOREIGN = Meaning("has tables that are not dq's: {cause}", _OTHER_SCHEMA, DatabaseRefused)
_UNSUITED = Meaning("refuses a statement: {cause}", "Type: dq db check", DatabaseRefused)
_VALUE = Meaning("cannot store a value: {cause}", "Give another", ValueRefused)
_CHARACTER = Meaning(
    "cannot store a character: {cause}",
    f"Use others, or move to a database in UTF8. Type in psql: {_UTF8}",
    ValueRefused,
)

#: By SQLSTATE, or by its first two characters.
_POSTGRES: Mapping[str, Meaning] = {
    "22": _VALUE,
    "22021": _CHARACTER,
    "22P05": _CHARACTER,
    "28": Meaning(
        _OUTAGE.found,
        "Correct DQ_DATABASE_URL or DQ_DATABASE_PASSWORD_FILE",
        DatabaseRefused,
    ),
    "3D000": Meaning(
        _OUTAGE.found,
        "Type in psql: CREATE DATABASE {database} OWNER {role} ENCODING 'UTF8' TEMPLATE template0",
        DatabaseRefused,
    ),
    "25006": Meaning(
        "is read-only: {cause}",
        "Name the primary in DQ_DATABASE_URL, or type in psql: "
        "ALTER SYSTEM RESET default_transaction_read_only; SELECT pg_reload_conf()",
        is_stale=True,
    ),
    "26000": Meaning("lost a prepared statement: {cause}", is_stale=True),
    "3F000": Meaning(
        "has no schema for its tables: {cause}",
        "Type in psql: CREATE SCHEMA {schema} AUTHORIZATION {role}",
        DatabaseRefused,
    ),
    "42": _UNSUITED,
    "42501": Meaning("refuses: {cause}", "Have its owner type in psql: {grant}", DatabaseRefused),
    "42703": _FOREIGN,
    "42710": _FOREIGN,
    "42804": _FOREIGN,
    "42P01": _FOREIGN,
    "42P05": Meaning("has a prepared statement of another's: {cause}", is_stale=True),
    "42P07": _FOREIGN,
    "53100": Meaning("has a full disk: {cause}", "Free some space there"),
}
#: For a refused connection libpq gives the server's message, and no SQLSTATE.
_REFUSALS = (
    (re.compile(r'FATAL: +(database ".*" does not exist|no such database)'), "3D000"),
    (re.compile(r'FATAL: +(password auth|no pg_hba|role ".*" does not exist)'), "28"),
)
_SQLITE_TABLES = Meaning(_FOREIGN.found, _OTHER_FILE, DatabaseRefused)
#: By SQLite's name of the error, up to a second underscore.
_SQLITE: Mapping[str, Meaning] = {
    "SQLITE_CANTOPEN": Meaning(
        "cannot be opened: {cause}", "Let this user write there, or set DQ_HOME"
    ),
    "SQLITE_CORRUPT": Meaning(
        "is damaged: {cause}", "Restore a copy. Type: sqlite3 {database} .recover", DatabaseRefused
    ),
    "SQLITE_ERROR": _SQLITE_TABLES,
    "SQLITE_FULL": Meaning("has a full disk: {cause}", "Free some space there"),
    "SQLITE_MISMATCH": _VALUE,
    "SQLITE_NOTADB": Meaning("is none: {cause}", _OTHER_FILE, DatabaseRefused),
    "SQLITE_READONLY": Meaning(
        "is read-only: {cause}",
        "Let this user write there. Type: chmod u+w {database}",
        is_stale=True,
    ),
    "SQLITE_TOOBIG": _VALUE,
}


def interpret(error: DBAPIError) -> Meaning | None:
    """Return what a driver's error means; None if the caller must handle it."""
    if isinstance(error, IntegrityError):
        return None
    state = str(getattr(error.orig, "sqlstate", None) or _find_state(str(error.orig)))
    name = "_".join(getattr(error.orig, "sqlite_errorname", "").split("_")[:2])
    found = _POSTGRES.get(state) or _POSTGRES.get(state[:2]) or _SQLITE.get(name)
    if found or error.connection_invalidated:
        return found or _OUTAGE
    kinds = {"DataError": _VALUE, "ProgrammingError": _UNSUITED}
    return kinds.get(type(error).__name__, _OUTAGE)


def _find_state(message: str) -> str:
    return next((state for pattern, state in _REFUSALS if pattern.search(message)), "")


def explain(meaning: Meaning, error: DBAPIError, url: URL) -> DatabaseTrouble:
    """Return the error to raise: the sentence, and what fixes it at this URL."""
    cause = _first_sentence(error)
    role = _quote(url.username or "dq")
    schema = schema_of(url)
    values = {"cause": cause, "role": role, "schema": schema, "database": url.database or ""}
    fix = meaning.fix.format(**values, grant=_grant(cause, error.statement or "", role, schema))
    return meaning.kind(f"The database {display_url(url)} {meaning.found.format(**values)}", fix)


def display_url(url: URL) -> str:
    """Return the URL without its passwords, those in its query too."""
    return hide_secrets(url.render_as_string(hide_password=False))


def schema_of(url: URL) -> str:
    """Return the schema that the URL's `options` name first, or PostgreSQL's default."""
    named = re.search(r"search_path\s*=\s*\"?(\w+)", str(url.query.get("options", "")))
    return _quote(named[1]) if named else "public"


def _first_sentence(error: DBAPIError) -> str:
    """Return the driver's message without the text of the statement."""
    message = str(error.orig).partition("\nLINE ")[0].partition("\nCONTEXT:")[0]
    return " ".join(message.split()).rstrip(".?")


def _grant(cause: str, statement: str, role: str, schema: str) -> str:
    """Return the statement that grants the missing right."""
    if owned := re.search(r"must be owner of (\w+) (\S+)", cause):
        return f"ALTER {owned[1].upper()} {owned[2]} OWNER TO {role}"
    if named := re.search(r"schema (\S+)$", cause):
        right = "CREATE" if statement.lstrip().upper().startswith("CREATE") else "USAGE"
        return f"GRANT {right} ON SCHEMA {named[1]} TO {role}"
    return (
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role}; "
        f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO {role}"
    )


_quote: Callable[[str], str] = postgresql.dialect().identifier_preparer.quote  # type: ignore[no-untyped-call] # SQLAlchemy
