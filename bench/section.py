"""One bench's part of RESULTS.md: a table of what was asked and what was measured."""

import os
import re
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

_TITLE = "# What the benches measured\n"


@dataclass(frozen=True)
class Section:
    """A bench's title, what it measured in words, a table, and notes below it."""

    title: str
    about: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()
    #: Where it was measured, if that is a GPU.
    gpu: str = ""

    @property
    def file(self) -> Path:
        """Where it is written: what a GPU's machine measured has a file of its own."""
        return Path(__file__).with_name(f"RESULTS{self.gpu and '-'}{self.gpu.replace(' ', '-')}.md")

    def __str__(self) -> str:
        table = [self.columns, ["---"] * len(self.columns), *self.rows]
        lines = [f"| {' | '.join(row)} |" for row in table]
        parts = [f"## {self.title}", self.about, "\n".join(lines), *self.notes]
        return "\n\n".join(parts) + "\n"


def judge(is_met: bool | None, by: str = "") -> str:
    """Say whether a target was met, and else by how much not; "" where there is none."""
    return {True: "met", False: f"**missed** by {by}", None: ""}[is_met]


def time_calls(call: Callable[[], object], times: int = 7) -> list[float]:
    """Return the seconds that each of so many calls took, after one that warms up."""
    call()
    return [time_once(call) for _ in range(times)]


def time_once(call: Callable[[], object]) -> float:
    """Return the seconds that one call took."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def spell_times(seconds: Sequence[float], scale: float = 1000, unit: str = "ms") -> list[str]:
    """Write the median and the best."""
    shown = (statistics.median(seconds), min(seconds))
    return [f"{value * scale:,.{1 if value * scale < 20 else 0}f} {unit}" for value in shown]


def opening() -> str:
    """Say what is measured and when."""
    here = Path(__file__).parent
    commit = subprocess.check_output(["git", "rev-parse", "--short", "HEAD"], cwd=here, text=True)
    listing = ["git", "diff", "HEAD", "--name-only", "--", ".", ":!RESULTS*.md", ".."]
    changed = subprocess.check_output(listing, cwd=here, text=True)
    files = len(changed.splitlines())
    more = f" with {files} changed file{'' if files == 1 else 's'}" if files else ""
    return f"dq at {commit.strip()}{more}, {stamp()}."


def stamp() -> str:
    """Return the time and how busy the machine is: other work on it makes figures worse."""
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, load average {load}"


def write(head: str, section: Section) -> None:
    """Write its file; the other benches' parts stay as they are."""
    kept = _split(section.file.read_text()) if section.file.exists() else {}
    kept[section.title] = str(section)
    section.file.write_text("\n".join([_TITLE, head, *kept.values()]))


def _split(text: str) -> dict[str, str]:
    """Return the parts of RESULTS.md by their titles."""
    parts = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    return {part.partition("\n")[0]: f"## {part.rstrip()}\n" for part in parts}
