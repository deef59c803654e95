"""Turns rows into a table, JSON, CSV or Markdown, none of which a stored string can upset."""

import csv
import io
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from typing import Any, Literal

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from service.formatting import format_default, printable

Format = Literal["table", "json", "csv", "md"]

#: A column of this priority is never left out of a narrow table; its cells fold instead.
ESSENTIAL = 100
#: Wider than any table.
_UNLIMITED_WIDTH = 100_000


@dataclass(frozen=True)
class Column:
    """One column: `name` is its snake_case key in rows, JSON and CSV, `title` its heading.

    `format` writes a value for people and never gets None, which is a dash; `style` gives its rich
    style. In a table of limited width, cells longer than `max_length` characters are cut, and those
    longer than `fold` folded; then a column that `factors_out` and has one value in all rows moves
    into the title; then the column of the lowest `priority` is left out, of equals the rightmost.
    """

    name: str
    title: str
    format: Callable[[Any], str] = format_default
    align: Literal["left", "right"] = "left"
    priority: int = ESSENTIAL
    max_length: int | None = None
    fold: int | None = None
    style: Callable[[Any], str] = lambda _: ""
    factors_out: bool = False


@dataclass(frozen=True)
class Table:
    """Rows, which are mappings or objects with a value per column, and the text around them."""

    columns: tuple[Column, ...]
    rows: Sequence[Any]
    title: tuple[str, ...] = ()
    footnotes: tuple[str, ...] = ()
    #: The keys of CSV and JSON, where these are not the columns' names.
    fields: tuple[str, ...] = ()
    #: What JSON shows instead of the list of rows.
    json_value: Any = None
    #: How to see the columns that a narrow table leaves out.
    remedy: str = "use --format csv or a wider terminal"
    #: A table that people read below this one; in CSV its rows follow.
    below: "Table | None" = None

    @property
    def raw_fields(self) -> tuple[str, ...]:
        """The keys of CSV and JSON."""
        return self.fields or tuple(column.name for column in self.columns)


def render(table: Table, format: Format, *, width: int | None, color: bool, ascii: bool) -> str:
    """Write a table in a format, without a last newline.

    Table and Markdown are for people: control characters are shown as escapes. JSON and CSV are
    for programs: every field, at full precision, NaN and infinity as null or nothing. `width`
    and `color` concern the table alone, `ascii` the table and Markdown (JSON is always ASCII).
    Without a width, as in a pipe, a table is as wide as its cells, nothing is cut or coloured.
    """
    if format == "json":
        return _render_json(table)
    if format == "csv":
        return _render_csv(table)
    tables = (table, table.below) if table.below else (table,)
    if format == "md":
        return "\n\n".join(_render_markdown(each, ascii) for each in tables)
    if width is None:
        return "\n\n".join(_render_whole(each, ascii) for each in tables)
    return "\n\n".join(_render_table(each, width, color, ascii) for each in tables)


def get_value(row: Any, name: str) -> Any:
    """Return a row's value of that name."""
    return row[name] if isinstance(row, Mapping) else getattr(row, name)


def get_raw(table: Table, row: Any) -> dict[str, Any]:
    """Return a row's values by the keys of CSV and JSON."""
    return {name: get_value(row, name) for name in table.raw_fields}


def format_cell(row: Any, column: Column, ascii: bool = False) -> str:
    """Write a row's value in a column for people; None is a dash."""
    value = get_value(row, column.name)
    return printable("—" if value is None else column.format(value), ascii)


def _render_json(table: Table) -> str:
    rows = [get_raw(table, row) for row in table.rows]
    value = rows if table.json_value is None else table.json_value
    return json.dumps(jsonable(value), indent=2, allow_nan=False)


def to_json_line(value: Any) -> str:
    """Write a value as JSON in one line, NaN and infinity as null."""
    return json.dumps(jsonable(value), allow_nan=False)


def jsonable(value: Any) -> Any:
    """Return a value of JSON's own kinds; NaN and infinity have none and become null."""
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [jsonable(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, datetime):
        return value.isoformat()
    return value if value is None or isinstance(value, str | int) else str(value)


def _render_csv(table: Table) -> str:
    records = (*table.rows, *(table.below.rows if table.below else ()))
    rows = [[_csv_cell(get_value(row, name)) for name in table.raw_fields] for row in records]
    return "\n".join(_csv_line(cells) for cells in (table.raw_fields, *rows))


def _csv_line(cells: Sequence[Any]) -> str:
    r"""Join cells; a writer that ends lines in "\n" would leave a lone "\r" in a cell unquoted."""
    out = io.StringIO()
    csv.writer(out).writerow(cells)
    return out.getvalue().removesuffix("\r\n")


def _csv_cell(value: Any) -> Any:
    """Return a value for the csv module; text that a spreadsheet would run as a formula is quoted.

    The rule is OWASP's "CSV injection": https://owasp.org/www-community/attacks/CSV_Injection
    """
    value = jsonable(value)
    if isinstance(value, int | float) or value is None:
        return value
    text = ",".join(str(item) for item in value) if isinstance(value, list) else str(value)
    is_formula = text.startswith(("=", "+", "-", "@", "\t", "\r"))
    return f"'{text}" if is_formula else text


def _render_markdown(table: Table, ascii: bool) -> str:
    head = [_escape(printable(column.title, ascii)) for column in table.columns]
    rule = ["---:" if column.align == "right" else "---" for column in table.columns]
    body = [
        [_escape(format_cell(row, column, ascii)) for column in table.columns] for row in table.rows
    ]
    lines = [f"| {' | '.join(cells)} |" for cells in (head, rule, *body)]
    title = [_escape(printable(line, ascii)) for line in table.title]
    notes = [f"- {_escape(printable(note, ascii))}" for note in table.footnotes]
    blocks = [*title, "\n".join(lines), "\n".join(notes)]
    return "\n\n".join(block for block in blocks if block)


def _escape(text: str) -> str:
    """Escape what would end a Markdown cell or start markup in it."""
    return re.sub(r"([\\|`*<\[])", r"\\\1", text)


def _render_whole(table: Table, ascii: bool) -> str:
    """Write a table as wide as its cells; rich takes ten times as long."""
    head = [printable(column.title, ascii) for column in table.columns]
    body = [[format_cell(row, column, ascii) for column in table.columns] for row in table.rows]
    widths = [max(map(cell_len, cells)) for cells in zip(head, *body, strict=True)]

    def pad(cell: str, width: int, column: Column) -> str:
        space = " " * (width - cell_len(cell))
        return space + cell if column.align == "right" else cell + space

    def line(cells: Sequence[str]) -> str:
        return "  ".join(map(pad, cells, widths, table.columns)).rstrip()

    rule = ("-" if ascii else "─") * (sum(widths) + 2 * (len(widths) - 1))
    heading = [line(head), rule] if any(head) else []
    title, notes = (
        [printable(each, ascii) for each in lines] for lines in (table.title, table.footnotes)
    )
    return "\n".join([*title, *heading, *map(line, body), *([""] if notes else []), *notes])


def _render_table(table: Table, width: int, color: bool, ascii: bool) -> str:
    out = io.StringIO()
    console = _open_console(out, width, color)
    table = _cut(table)
    fitted = _fit(table, console, ascii)
    names = {column.name for column in fitted.columns}
    dropped = [column for column in table.columns if column.name not in names]
    notes = [*table.footnotes, *_note_dropped(table, dropped, width)]
    _print_lines(console, [*table.title, *_describe_shared(table, dropped)], "bold", ascii)
    console.print(_build_grid(fitted, ascii))
    _print_lines(console, [""][: len(notes)] + notes, "dim", ascii)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def _cut(table: Table) -> Table:
    """Return the table with cells of at most `max_length` characters."""

    def cut(column: Column) -> Column:
        def format(value: Any) -> str:
            text, limit = column.format(value), column.max_length
            return text if limit is None or len(text) <= limit else f"{text[: limit - 1]}…"

        return replace(column, format=format)

    return replace(table, columns=tuple(map(cut, table.columns)))


def _open_console(out: io.StringIO, width: int, color: bool) -> Console:
    """Open a console that heeds no environment variable."""
    return Console(
        file=out,
        width=width,
        height=25,  # without it a dumb terminal overrides the width
        force_terminal=color,
        force_jupyter=False,
        color_system="standard" if color else None,
        no_color=not color,
        highlight=False,
    )


def _print_lines(console: Console, lines: Sequence[str], style: str, ascii: bool) -> None:
    for line in lines:
        console.print(Text(printable(line, ascii), style=style, overflow="fold"))


def _fit(table: Table, console: Console, ascii: bool) -> Table:
    """Fold cells, then leave out columns, until the table fits the console."""

    @cache
    def rank(column: Column) -> tuple[bool, int]:
        return not _is_shared(table, column), column.priority

    columns = list(table.columns)
    while True:
        folded = replace(table, columns=tuple(columns))
        unfolded = replace(table, columns=tuple(replace(each, fold=None) for each in columns))
        for candidate in (unfolded, folded):
            if _fits(candidate, console, ascii):
                return candidate
        least = min(reversed(columns), key=rank)
        if least.priority >= ESSENTIAL:
            return folded
        columns.remove(least)


def _fits(table: Table, console: Console, ascii: bool) -> bool:
    """Whether a table with no cell folded more than it may be is as wide as the console or less."""
    unlimited = console.options.update(max_width=_UNLIMITED_WIDTH)
    return console.measure(_build_grid(table, ascii), options=unlimited).maximum <= console.width


def _is_shared(table: Table, column: Column) -> bool:
    """Whether a column may go into the title: all rows have one value."""
    if not column.factors_out or len(table.rows) < 2:  # noqa: PLR2004
        return False
    return len({format_cell(row, column) for row in table.rows}) == 1


def _describe_shared(table: Table, dropped: Sequence[Column]) -> list[str]:
    shared = [column for column in dropped if _is_shared(table, column)]
    values = [f"{column.title} {format_cell(table.rows[0], column)}" for column in shared]
    return [f"In all rows: {', '.join(values)}"] if values else []


def _note_dropped(table: Table, dropped: Sequence[Column], width: int) -> list[str]:
    titles = ", ".join(column.title for column in dropped if not _is_shared(table, column))
    return [f"Not shown at {width} columns: {titles}; {table.remedy}."] if titles else []


def _build_grid(table: Table, ascii: bool) -> Grid:
    line = box.Box(str(box.SIMPLE_HEAD).replace("─", "-"), ascii=True) if ascii else box.SIMPLE_HEAD
    grid = Grid(
        box=line,
        header_style="bold",
        padding=(0, 1, 0, 0),
        pad_edge=False,
        show_edge=False,
        show_header=any(column.title for column in table.columns),
    )
    for column in table.columns:
        title = Text(printable(column.title, ascii))
        grid.add_column(title, justify=column.align, overflow="fold", max_width=column.fold)
    for row in table.rows:
        grid.add_row(*(_build_cell(row, column, ascii) for column in table.columns))
    return grid


def _build_cell(row: Any, column: Column, ascii: bool) -> Text:
    """Build a rich text, which unlike a string is never read as markup."""
    value = get_value(row, column.name)
    return Text(format_cell(row, column, ascii), style="" if value is None else column.style(value))
