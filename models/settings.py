"""The settings: each is an environment variable DQ_*, read once at the entry point."""

import getpass
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import parse_qsl, quote, urlsplit

from platformdirs import user_cache_path, user_data_path
from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy import URL

from models.errors import UsageError
from models.urls import check_database, check_redis, for_sqlalchemy
from models.words import RULE, is_selectable

#: A regular expression for the setting `pack`.
PACK = r"^(auto|off|[1-9]\d{0,3})$"


def _make_absolute(path: Path) -> Path:
    try:
        str(path).encode()
        return path.expanduser().absolute()
    except UnicodeEncodeError:
        raise ValueError("this is not valid UTF-8: name a folder whose name is") from None
    except RuntimeError:
        raise ValueError("~ stands for no folder here: write the whole path") from None


def _checked_by(check: Callable[[str], None]) -> AfterValidator:
    """Return what validates a URL, unless it is empty, by a function that raises ValueError."""

    def validate(url: str) -> str:
        if url:
            check(url)
        return url

    return AfterValidator(validate)


_AbsolutePath = Annotated[Path, AfterValidator(_make_absolute)]
_DatabaseUrl = Annotated[str, _checked_by(check_database)]
_BrokerUrl = Annotated[str, _checked_by(check_redis)]


def _find_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        return f"user {os.getuid()}"


def _check_owner(name: str) -> str:
    if not is_selectable(name):
        raise ValueError(RULE)
    return name


_Owner = Annotated[str, AfterValidator(_check_owner)]


class Settings(BaseSettings):
    """The frozen settings of one process. Hyperparameters are never settings."""

    model_config = SettingsConfigDict(env_prefix="DQ_", frozen=True, env_ignore_empty=True)

    home: _AbsolutePath = Field(
        default_factory=lambda: user_data_path("dq"),
        validate_default=True,
        description="folder of the embedded database, the embedded Redis and the logs",
    )
    database_url: _DatabaseUrl = Field(
        default="",
        description="SQL database (postgresql://... or sqlite:///...); embedded SQLite",
        repr=False,
    )
    broker_url: _BrokerUrl = Field(
        default="", description="Redis (redis://... or rediss://...); embedded Redis", repr=False
    )
    database_password_file: _AbsolutePath | None = Field(
        default=None,
        description="file that holds the database's password, if DQ_DATABASE_URL doesn't",
    )
    broker_password_file: _AbsolutePath | None = Field(
        default=None, description="file that holds Redis' password, if DQ_BROKER_URL doesn't"
    )
    data_dir: _AbsolutePath = Field(
        default_factory=lambda: user_cache_path("dq") / "data",
        validate_default=True,
        description="folder of the data sets, one sub-folder each",
    )
    checkpoint_dir: _AbsolutePath | None = Field(
        default=None, description="folder of the checkpoints; share it to resume on another host"
    )
    pack: str = Field(
        default="auto",
        pattern=PACK,
        description="how many jobs of one shape a worker trains together: auto, off, or at most N",
    )
    owner: _Owner = Field(
        default_factory=_find_user,
        validate_default=True,
        description="who submits: jobs of several owners take turns; the user of this system",
    )
    lease_seconds: float = Field(
        default=30,
        ge=1,
        le=86_400,
        allow_inf_nan=False,
        description="how long a silent worker keeps its job, a day at most",
    )
    log_format: Literal["text", "json"] = Field(
        default="text", description="how a worker logs: text, or json, an object a line"
    )
    web_token: SecretStr = Field(
        default=SecretStr(""), description="what lets its bearer act on the page and by REST"
    )
    web_token_file: _AbsolutePath | None = Field(
        default=None, description="a file that holds that token, as a container's secret is given"
    )

    @classmethod
    def load(cls) -> Self:
        """Read the environment; raise UsageError for a bad value or an unknown DQ_* name."""
        known = {f"DQ_{field.upper()}" for field in cls.model_fields}
        if unknown := sorted(n for n in os.environ if n.startswith("DQ_") and n not in known):
            raise UsageError(
                f"Unknown setting {', '.join(unknown)}. "
                f"The settings are {', '.join(sorted(known))}."
            )
        try:
            return cls()
        except RuntimeError:  # platformdirs'
            raise UsageError(
                "This user has no home directory, and HOME is not set: set DQ_HOME and DQ_DATA_DIR"
            ) from None
        except ValidationError as error:
            raise UsageError(_describe(error)) from None

    @property
    def is_broker_embedded(self) -> bool:
        """Whether dq starts and keeps its own Redis."""
        return not self.broker_url

    @property
    def is_database_embedded(self) -> bool:
        """Whether dq keeps its own SQLite file, and migrates it by itself."""
        return not self.database_url

    @property
    def sql_url(self) -> str:
        """The database's URL as SQLAlchemy wants it, with its password."""
        if self.is_database_embedded:
            # Not an f-string: the path may hold a % or a ?.
            file = URL.create("sqlite", database=str(self.home / "dq.sqlite"))
            return file.render_as_string(hide_password=False)
        url = _with_password(self.database_url, self.database_password_file, "DATABASE")
        return for_sqlalchemy(url)

    @property
    def redis_url(self) -> str:
        """The configured Redis with its password; empty for the embedded one."""
        url = _with_password(self.broker_url, self.broker_password_file, "BROKER")
        # kombu would trust any certificate unless the URL says otherwise; redis-py would not.
        if url.startswith("rediss://") and "ssl_cert_reqs=" not in url:
            url += f"{'&' if '?' in url else '?'}ssl_cert_reqs=required"
        return url

    @property
    def token(self) -> str:
        """What lets its bearer act on the page and by REST; empty if none is set."""
        given = self.web_token.get_secret_value()
        if self.web_token_file is None:
            return given
        if given:
            raise UsageError("DQ_WEB_TOKEN holds a token, and DQ_WEB_TOKEN_FILE, too: unset one")
        return _read_secret(self.web_token_file, "DQ_WEB_TOKEN_FILE")

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.checkpoint_dir or self.home / "checkpoints"


def _describe(error: ValidationError) -> str:
    first = error.errors()[0]
    field = str(first["loc"][0])
    # Not the value of a URL, which may hold a password.
    value = "" if field.endswith(("_url", "_token")) else f"={first['input']}"
    return f"DQ_{field.upper()}{value}: {first['msg'].removeprefix('Value error, ')}"


def _with_password(url: str, file: Path | None, which: str) -> str:
    """Put the password that a file holds into a URL that has none; `which` names the settings."""
    if not url or file is None:
        return url
    parts = urlsplit(url)
    user, _, host = parts.netloc.rpartition("@")
    if ":" in user or "password" in dict(parse_qsl(parts.query)):
        raise UsageError(
            f"DQ_{which}_URL holds a password, and DQ_{which}_PASSWORD_FILE, too: unset one"
        )
    password = quote(_read_secret(file, f"DQ_{which}_PASSWORD_FILE"), safe="")
    return parts._replace(netloc=f"{user}:{password}@{host}").geturl()


def _read_secret(file: Path, setting: str) -> str:
    """Return a file's text without the end of its line; `setting` names the file."""
    try:
        secret = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise UsageError(f"{setting}={file} cannot be read: {why}") from None
    if not secret:
        raise UsageError(f"{setting}={file} is empty: write the secret into it")
    return secret
