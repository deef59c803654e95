"""Templates: values are escaped, without control characters, and written as in the tables."""

import json
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Undefined
from markupsafe import Markup

from models.state import JobState
from service.formatting import (
    describe_field,
    format_duration,
    format_field,
    plural,
    printable,
)
from service.reports.detail_tables import repeat_command
from service.reports.plots.plotly_figure import draw_figure
from service.reports.table import format_cell, jsonable
from service.web.static_files import PLOTLY_PATH, fingerprint

FOLDER = Path(__file__).parent
#: The CSS classes for the colours of the tables in a terminal.
_CSS_CLASSES = {"green": "good", "red": "bad", "yellow": "warn", "cyan": "live"}
_MINUTE = 60


@cache
def open_templates() -> Environment:
    """Return the templates, which escape every value; an undefined value is an error."""
    environment = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "ago": ago,
        "as_json": as_json,
        "css_class": lambda style: _CSS_CLASSES.get(style, ""),
        "duration": format_duration,
        "figure": lambda chart: draw_figure(chart) if chart else None,
        "metric": lambda value: "—" if value is None else f"{value:.4f}",
        "thousands": lambda number: f"{number:,}",
        "utc": lambda time: f"{time:%Y-%m-%d %H:%M:%S} UTC",
    }
    environment.globals |= {
        "JobState": JobState,
        "assets": fingerprint(),
        "plural": plural,
        "describe_field": describe_field,
        "format_cell": format_cell,
        "format_field": format_field,
        "plotly_path": PLOTLY_PATH,
        "repeat_command": repeat_command,
        "state_names": frozenset(JobState),
    }
    return environment


def make_url(path: str, **query: Any) -> str:
    """Return a path with its query, without empty values; "x if y" may be undefined."""
    defined = {name: value for name, value in query.items() if not isinstance(value, Undefined)}
    given = {name: value for name, value in defined.items() if value not in (None, "", False)}
    given = {name: "1" if value is True else value for name, value in given.items()}
    return f"{path}?{urlencode(given)}" if given else path


def ago(time: datetime) -> str:
    """Write how long ago a time is."""
    seconds = max(0.0, (datetime.now(UTC) - time).total_seconds())
    return "just now" if seconds < _MINUTE / 2 else f"{format_duration(seconds)} ago"


def as_json(value: Any) -> Markup:
    """Write a value as JSON that is safe within a script element; NaN becomes null."""
    text = json.dumps(jsonable(value), allow_nan=False)
    escapes = {ord(char): f"\\u{ord(char):04x}" for char in "<>&'\u2028\u2029"}
    return Markup(text.translate(escapes))


def _finalize(value: Any) -> Any:
    r"""Show control and bidirectional characters of stored text as escapes, "\x1b"."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value
