"""Writes rows as files: CSV, JSON lines, Markdown, Parquet, and a comparison as LaTeX."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from models.metrics import EPOCH_METRICS, EpochMetrics
from models.spec import ExperimentSpec
from service.extras import needing
from service.formatting import printable
from service.queries.rows import Curve, JobRow
from service.reports.output_file import writing_output
from service.reports.table import Column, Table, format_cell, get_raw, render, to_json_line

if TYPE_CHECKING:
    import pyarrow

#: A page is narrow: what says least about the result is left to the other formats.
_LEAST_LATEX_PRIORITY = 50

TextKind = Literal["csv", "jsonl", "md", "latex"]

#: The types of Parquet columns that are no text: a column without a value has the same type, too.
_PARQUET_TYPES = {
    **dict.fromkeys(("job_id", "sweep_id", "attempt", "epochs_done", "epoch"), "int64"),
    **dict.fromkeys(("train_size", "batch_size", "epochs", "seed"), "int64"),
    **dict.fromkeys((*EPOCH_METRICS, "seconds", "lr", "lr_decay", "momentum"), "float64"),
    **dict.fromkeys(("input_keep", "max_norm"), "float64"),
    **dict.fromkeys(("created_at", "started_at", "finished_at"), "times"),
    "hidden": "ints",
    "keep": "floats",
    "held": "bool",
}

_OF_JOB = ("job_id", "sweep_id", "name", "owner", "state")
_OF_EPOCH = tuple(field.name for field in fields(EpochMetrics))
_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",  # OT1, LaTeX's default encoding, has no straight one
    "—": "---",
    "…": r"\ldots{}",
    "±": r"$\pm$",
    **{char: f"\\{char}" for char in "&%$#_{}"},
}


def job_epoch_table(jobs: Iterable[JobRow], curves: Iterable[Curve]) -> Table:
    """List the epochs of jobs, a row each with the spec of its job."""
    epochs = {curve.job_id: curve.epochs for curve in curves}
    names = (*_OF_JOB, *ExperimentSpec.model_fields, *_OF_EPOCH)
    rows = [
        {**{name: getattr(job, name) for name in _OF_JOB}, **dict(job.spec), **vars(epoch)}
        for job in jobs
        for epoch in epochs.get(job.job_id, ())
    ]
    return Table(tuple(Column(name, name) for name in names), rows)


def to_text(table: Table, kind: TextKind) -> str:
    """Write a table as text, without a last newline."""
    if kind == "jsonl":
        return "\n".join(to_json_line(get_raw(table, row)) for row in table.rows)
    if kind == "latex":
        return _to_latex(table)
    return render(table, kind, width=0, color=False, ascii=False)


def write_text(text: str, path: Path) -> None:
    """Write a text file, whole or not at all."""
    with writing_output(path) as part:
        part.write_text(f"{text}\n", encoding="utf-8", newline="\n")


def write_parquet(table: Table, path: Path) -> None:
    """Write a Parquet file, whole or not at all, with a type for each column.

    Raises DqError if pyarrow is not there.
    """
    with needing("pyarrow", "export", "Parquet"):
        import pyarrow
        from pyarrow import parquet
    schema = pyarrow.schema([(name, _parquet_type(name)) for name in table.raw_fields])
    rows = [get_raw(table, row) for row in table.rows]
    with writing_output(path) as part:
        parquet.write_table(pyarrow.Table.from_pylist(rows, schema), part)


def _parquet_type(name: str) -> "pyarrow.DataType":
    import pyarrow

    types = {
        "times": pyarrow.timestamp("us", tz="UTC"),
        "ints": pyarrow.list_(pyarrow.int64()),
        "floats": pyarrow.list_(pyarrow.float64()),
    }
    named = _PARQUET_TYPES.get(name, "string")
    return types.get(named) or pyarrow.type_for_alias(named)


def _to_latex(table: Table) -> str:
    r"""Write a table for the LaTeX package booktabs, to be read by \input."""
    columns = [column for column in table.columns if column.priority >= _LEAST_LATEX_PRIORITY]
    alignment = "".join(column.align[0] for column in columns)
    head = [_escape(column.title) for column in columns]
    body = [[_cell(row, column) for column in columns] for row in table.rows]
    lines = [
        r"% Made by dq export. Needs \usepackage{booktabs}.",
        r"\begin{table}",
        r"  \centering\small\setlength{\tabcolsep}{4pt}",
        *(rf"  \caption{{{_escape(line)}}}" for line in _caption(table)),
        rf"  \begin{{tabular}}{{{alignment}}}",
        r"    \toprule",
        _latex_row(head),
        r"    \midrule",
        *map(_latex_row, body),
        r"    \bottomrule",
        r"  \end{tabular}",
        *_latex_notes(table.footnotes),
        r"\end{table}",
    ]
    return "\n".join(lines)


def _caption(table: Table) -> Iterable[str]:
    if any(table.title):
        yield f"{'; '.join(line for line in table.title if line)}."


def _latex_row(cells: Sequence[str]) -> str:
    return rf"    {' & '.join(cells)} \\"


def _latex_notes(notes: Sequence[str]) -> Iterable[str]:
    if notes:
        yield r"  \par\medskip"
        yield r"  \begin{minipage}{0.95\linewidth}\footnotesize"
        yield from (rf"    {_escape(note)}\par" for note in notes)
        yield r"  \end{minipage}"


def _cell(row: Any, column: Column) -> str:
    # A hyphen before a figure is its sign.
    return re.sub(r"(?<!\w)-(?=\d)", "$-$", _escape(format_cell(row, column)))


def _escape(text: str) -> str:
    return "".join(_LATEX.get(char, char) for char in printable(text))
