"""The tables of `dq reproduce`."""

from collections.abc import Iterable
from dataclasses import asdict

from service.analysis.reproduction import (
    Reproduction,
    ReproductionRow,
    Verdict,
    list_shipped,
    load_table,
)
from service.formatting import abbreviate_metric, format_p
from service.reports.table import Column, Table

_STYLES = {Verdict.MET: "green", Verdict.NOT_MET: "red", Verdict.UNDECIDED: "yellow"}


def listing_table() -> Table:
    """List the published tables that ship with dq."""
    tables = {name: load_table(name) for name in list_shipped()}
    rows = [
        {"name": name, "title": table.title, "scales": ["full", *table.scales]}
        for name, table in tables.items()
    ]
    columns = (
        Column("name", "name"),
        Column("title", "title", fold=50),
        Column("scales", "--scale"),
    )
    return Table(columns, rows)


def figure_table(report: Reproduction) -> Table:
    """List each reported figure beside ours; in JSON with the claims."""
    rows = [{**asdict(row), "deviation": row.deviation} for row in report.rows]
    return Table(
        columns=tuple(_figure_columns()),
        rows=[{**row, "ours": _pair_up(each)} for row, each in zip(rows, report.rows, strict=True)],
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
    """List the publication's claims, and whether our jobs agree with them."""
    columns = (
        Column("better", "claimed to be better", fold=20),
        Column("than", "than", fold=20),
        Column("difference", "diff", "{:+.4f}".format, "right"),
        Column("p", "p", format_p, "right", 80),
        Column("verdict", "verdict", style=lambda verdict: _STYLES.get(verdict, "")),
    )
    return Table(columns, report.claims, remedy="use --json or a wider terminal")


def _figure_columns() -> Iterable[Column]:
    figure = "{:.4f}".format
    yield Column("cell", "published row", fold=20)
    yield Column("metric", "metric", abbreviate_metric, priority=65, factors_out=True)
    yield Column("reported", "reported", figure, "right")
    yield Column("tolerance", "+-", "{:g}".format, "right", 30, factors_out=True)
    yield Column("n", "n", align="right", priority=60, factors_out=True)
    yield Column("ours", "ours, 95 %", _format_ours, "right")
    yield Column("deviation", "deviation", "{:+.4f}".format, "right", 70)
    yield Column("verdict", "verdict", style=lambda verdict: _STYLES.get(verdict, ""))


def _title(report: Reproduction) -> Iterable[str]:
    yield report.table.title
    yield report.table.citation.strip()
    if report.scale:
        yield f"A STAND-IN, not the published experiment: {report.scale.says.strip()}"


def _pair_up(row: ReproductionRow) -> tuple[float, float | None] | None:
    """Return the mean and half the width of its interval."""
    if row.mean is None:
        return None
    return row.mean, None if row.high is None else row.high - row.mean


def _format_ours(ours: tuple[float, float | None]) -> str:
    mean, half = ours
    return f"{mean:.4f}" if half is None else f"{mean:.4f} ± {half:.4f}"
