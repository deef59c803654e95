"""Where things are: every setting is an environment variable DQ_*, read once at the entry point."""

import os
from pathlib import Path
from typing import Self

from platformdirs import user_cache_path, user_data_path
from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from models.errors import UsageError


class Settings(BaseSettings):
    """The frozen settings of one process. Hyperparameters are never settings."""

    model_config = SettingsConfigDict(env_prefix="DQ_", frozen=True, env_ignore_empty=True)

    home: Path = Field(
        default_factory=lambda: user_data_path("dq"),
        description="folder of the embedded database, the embedded Redis and the logs",
    )
    database_url: str = Field(
        default="", description="SQL database (postgresql://... or sqlite:///...); embedded SQLite"
    )
    broker_url: str = Field(
        default="", description="Redis (redis://... or rediss://...); embedded Redis"
    )
    data_dir: Path = Field(
        default_factory=lambda: user_cache_path("dq") / "data",
        description="folder of the data sets, one sub-folder each",
    )
    checkpoint_dir: Path | None = Field(
        default=None, description="folder of the checkpoints; share it to resume on another host"
    )
    lease_seconds: float = Field(
        default=30, ge=1, description="how long a silent worker keeps its job"
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
        except ValidationError as error:
            first = error.errors()[0]
            name = f"DQ_{str(first['loc'][0]).upper()}"
            raise UsageError(f"{name}={first['input']}: {first['msg']}") from None

    @field_validator("home", "data_dir", "checkpoint_dir")
    @classmethod
    def _make_absolute(cls, path: Path | None) -> Path | None:
        return path.expanduser().absolute() if path else None

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
        """The database's URL as SQLAlchemy wants it."""
        if self.is_database_embedded:
            return f"sqlite:///{self.home / 'dq.sqlite'}"
        scheme, _, rest = self.database_url.partition("://")
        return f"{'postgresql+psycopg' if scheme in _POSTGRES else scheme}://{rest}"

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.checkpoint_dir or self.home / "checkpoints"


_POSTGRES = {"postgres", "postgresql"}
