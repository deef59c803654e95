"""How values are written: specs' fields, counts, job ids, durations, cells."""

from collections.abc import Collection
from datetime import datetime
from typing import Any


def format_field(name: str, value: Any) -> str:
    """Write the value of a spec's field as a table shows it: "512x3", "0.9,0.8,0.8", "none"."""
    if name == "keep" and all(keep == 1 for keep in value):
        return "none"
    if name == "hidden" and len(value) > 1 and len(set(value)) == 1:
        return f"{value[0]}x{len(value)}"
    if isinstance(value, tuple):
        return ",".join(format_field("", item) for item in value)
    if value is None:
        return "all" if name == "train_size" else "none"
    return str(value).removesuffix(".0")


def describe_field(name: str, value: Any) -> str:
    """Write a spec's field with its name as words in a sentence: "lr 0.1", "no dropout"."""
    text = format_field(name, value)
    phrases = {
        "dataset": text,
        "train_size": f"{text} training image{'' if value == 1 else 's'}",
        "keep": "no dropout" if text == "none" else f"keep {text}",
        "batch_size": f"batch {text}",
        "mask": f"a mask per {text}",
        "evaluation": f"{text} images",
        "epochs": f"{text} epochs" if value != 1 else "1 epoch",
    }
    return phrases.get(name, f"{name.replace('_', ' ')} {text}")


def format_ids(ids: Collection[int], most: int = 8) -> str:
    """Write job ids as the selectors that pick them, "1..5, 8"; past `most` of these, "..."."""
    known = set(ids)
    starts = sorted(start for start in known if start - 1 not in known)
    ends = sorted(end for end in known if end + 1 not in known)
    ranges = [f"{a}" if a == b else f"{a}..{b}" for a, b in zip(starts, ends, strict=True)]
    return ", ".join(ranges[:most] + ["..."] * (len(ranges) > most))


_ASCII = str.maketrans({"±": "+-", "…": "...", "—": "-", "·": "*", "→": "->"})


def format_default(value: Any) -> str:
    """Write a value as a cell: figures shortly, a sequence with commas, a flag as yes or no."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, tuple | list):
        return ",".join(format_default(item) for item in value)
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    return str(value)


def printable(text: str, ascii: bool = False) -> str:
    r"""Show control, bidirectional and other unprintable characters as escapes, "\x1b"."""
    shown = text if text.isprintable() else "".join(map(_show_character, text))
    if not ascii:
        return shown
    return shown.translate(_ASCII).encode("ascii", "backslashreplace").decode()


def _show_character(char: str) -> str:
    return char if char.isprintable() else char.encode("unicode_escape").decode()


def plural(number: int, noun: str) -> str:
    """Write a number with its noun: "1 job", "2,000 jobs"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def format_duration(seconds: float) -> str:
    """Write a time span shortly: "40 s", "12 min", "3.5 h", "2 days"."""
    for unit, size, limit in (("s", 1, 90), ("min", 60, 90), ("h", 3600, 48)):
        if seconds / size < limit:
            return f"{seconds / size:.{1 if unit == 'h' else 0}f} {unit}"
    return f"{seconds / 86400:.0f} days"
