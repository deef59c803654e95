"""The tables of `dq reproduce`."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from service.report import Column, Table
from service.reproduction import Reproduction, Verdict, list_shipped, load_table

_STYLES = {Verdict.MET: "green", Verdict.NOT_MET: "red", Verdict.UNDECIDED: "yellow"}


def listing_table() -> Table:
    """List the published tables that ship with dq."""
    tables = {name: load_table(name) for name in list_shipped()}
    rows = [
        {"name": name, "title": table.title, "scales": ["full", *table.scales]}
        for name, table in tables.items()
    ]
    columns = (Column("name", "name"), Column("title", "title"), Column("scales", "--scale"))
    return Table(columns, rows)


def figure_table(report: Reproduction) -> Table:
    """List each reported figure beside ours; in JSON with the claims."""
    rows = [{**asdict(row), "deviation": row.deviation} for row in report.rows]
    return Table(
        columns=tuple(_figure_columns()),
        rows=[{**row, "interval": _pair(row["low"], row["high"])} for row in rows],
        title=tuple(_title(report)),
        footnotes=tuple(f"Assumed: {text}" for text in report.table.assumptions),
        fields=tuple(rows[0]) if rows else (),
        json_value={
            "title": report.table.title,
            "citation": report.table.citation,
            "version": report.table.version,
            "scale": report.scale.says if report.scale else "full",
            "assumptions": report.table.assumptions,
            "figures": rows,
            "claims": [asdict(claim) for claim in report.claims],
        },
    )


def claim_table(report: Reproduction) -> Table:
    """List the publication's claims, and what our runs say of them."""
    columns = (
        Column("better", "claimed to be better"),
        Column("than", "than"),
        Column("difference", "our difference", "{:+.4f}".format, "right"),
        Column("p", "p", "{:.3f}".format, "right", 80),
        Column("verdict", "verdict", style=lambda verdict: _STYLES.get(verdict, "")),
    )
    return Table(columns, report.claims)


def _figure_columns() -> Iterable[Column]:
    figure = "{:.4f}".format
    yield Column("cell", "published row")
    yield Column("metric", "metric", priority=90)
    yield Column("reported", "reported", figure, "right")
    yield Column("tolerance", "+-", "{:g}".format, "right", 30)
    yield Column("n", "n", align="right", priority=60)
    yield Column("mean", "ours", figure, "right")
    yield Column("interval", "95 % interval", _spell_pair, "right", 50)
    yield Column("deviation", "deviation", "{:+.4f}".format, "right", 70)
    yield Column("verdict", "verdict", style=lambda verdict: _STYLES.get(verdict, ""))


def _title(report: Reproduction) -> Iterable[str]:
    yield report.table.title
    yield report.table.citation.strip()
    if report.scale:
        yield f"A STAND-IN, not the published experiment: {report.scale.says.strip()}"


def _pair(low: float | None, high: float | None) -> tuple[float, float] | None:
    return None if low is None or high is None else (low, high)


def _spell_pair(pair: Any) -> str:
    return f"{pair[0]:.4f}..{pair[1]:.4f}"
