"""One benchmark's part of RESULTS.md: a table of what was asked and what was measured."""

import os
import re
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

_TITLE = "# What the benches measured\n"
#: The columns of `time_row`.
TIME_COLUMNS = ("target", "median", "best", "")


@dataclass(frozen=True)
class Section:
    """A benchmark's title, what it measured in words, a table, and notes below it."""

    title: str
    about: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()
    #: The GPU that it was measured on, if any.
    gpu: str = ""

    @property
    def file(self) -> Path:
        """The file it is written to; each GPU has its own."""
        return Path(__file__).with_name(f"RESULTS{self.gpu and '-'}{self.gpu.replace(' ', '-')}.md")

    def __str__(self) -> str:
        table = format_table(self.columns, self.rows)
        return "\n\n".join([f"## {self.title}", self.about, table, *self.notes]) + "\n"


def format_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a table in Markdown."""
    return "\n".join(f"| {' | '.join(row)} |" for row in [columns, ["---"] * len(columns), *rows])


def judge(is_met: bool | None, by: str = "") -> str:
    """Say whether a target was met, and else by how much it was missed; "" without a target."""
    return {True: "met", False: f"**missed** by {by}", None: ""}[is_met]


def show(rows: Iterable[list[str]]) -> list[list[str]]:
    """Print each row as soon as it is measured; return all."""
    shown = []
    for row in rows:
        print(*row, sep="  ", flush=True)
        shown.append(row)
    return shown


def time_calls(call: Callable[[], object], times: int = 7) -> list[float]:
    """Return the seconds that each of a number of calls took, after one that warms up."""
    call()
    return [time_once(call) for _ in range(times)]


def time_once(call: Callable[[], object]) -> float:
    """Return the seconds that one call took."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def time_row(
    what: str, seconds: Sequence[float], target: float | None, unit: str = "ms"
) -> list[str]:
    """Return a row: what was timed, the target in `unit`, the median, the best, and the verdict."""
    times = [value * {"ms": 1000, "s": 1}[unit] for value in seconds]
    median, best = (f"{_format(value)} {unit}" for value in (statistics.median(times), min(times)))
    if target is None:
        return [what, "", median, best, ""]
    excess = statistics.median(times) - target
    return [
        what,
        f"{target:,g} {unit}",
        median,
        best,
        judge(excess < 0, f"{_format(excess)} {unit}"),
    ]


def _format(value: float) -> str:
    return f"{value:,.{1 if value < 20 else 0}f}"


def describe_version() -> str:
    """Return which dq is measured, and when."""
    here = Path(__file__).parent
    commit = subprocess.check_output(["git", "rev-parse", "--short", "HEAD"], cwd=here, text=True)
    listing = ["git", "diff", "HEAD", "--name-only", "--", ".", ":!RESULTS*.md", ".."]
    files = len(subprocess.check_output(listing, cwd=here, text=True).splitlines())
    more = f" with {files} changed file{'' if files == 1 else 's'}" if files else ""
    return f"dq at {commit.strip()}{more}, {describe_moment()}."


def describe_moment() -> str:
    """Return the time and the load of the machine: other work on it makes figures worse."""
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, load average {load}"


def write(head: str, section: Section) -> None:
    """Write the section to its file; the sections of other benchmarks stay as they are."""
    kept = _split(section.file.read_text()) if section.file.exists() else {}
    kept[section.title] = str(section)
    section.file.write_text("\n".join([_TITLE, head, *kept.values()]))


def _split(text: str) -> dict[str, str]:
    """Return the sections of RESULTS.md by their titles."""
    parts = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    return {part.partition("\n")[0]: f"## {part.rstrip()}\n" for part in parts}
