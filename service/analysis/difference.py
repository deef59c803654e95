"""What sets two jobs apart: spec, provenance, metrics."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from service.formatting import format_fields
from service.queries.rows import JobDetail


@dataclass(frozen=True)
class Difference:
    """One thing in which two jobs differ; None is a value that one lacks."""

    part: str
    name: str
    a: Any
    b: Any


def find_differences(a: JobDetail, b: JobDetail) -> list[Difference]:
    """Return everything that differs between two jobs, the spec first."""
    parts = {
        "spec": (format_fields(a.row.spec), format_fields(b.row.spec)),
        "provenance": (dict(a.provenance), dict(b.provenance)),
        "outcome": (_outcome(a), _outcome(b)),
    }
    return [each for part, (left, right) in parts.items() for each in _differ(part, left, right)]


def _differ(part: str, a: dict[str, Any], b: dict[str, Any]) -> Iterator[Difference]:
    for name in dict.fromkeys([*a, *b]):
        if a.get(name) != b.get(name):
            yield Difference(part, name, a.get(name), b.get(name))


def _outcome(detail: JobDetail) -> dict[str, Any]:
    seconds = sum(epoch.seconds for epoch in detail.epochs)
    facts = {"state": str(detail.row.state), "epochs": len(detail.epochs), "seconds": seconds}
    return facts | dict(detail.row.metrics)
