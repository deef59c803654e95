"""How values are written: specs' fields, metrics, counts, job ids, durations, table cells."""

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

from models.spec import ExperimentSpec

#: What titles and axes call each metric.
_TITLES = {
    "valid_accuracy": "Validation accuracy",
    "valid_loss": "Validation loss",
    "train_accuracy": "Training accuracy of the last batch",
    "train_loss": "Training loss of the last batch",
    "seconds": "Training time",
}
#: A loss from here on is written with few digits.
_EXPLODED = 1000
_ASCII = str.maketrans({"±": "+-", "…": "...", "—": "-", "·": "*", "→": "->"})


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


def format_fields(spec: ExperimentSpec) -> dict[str, str]:
    """Write all fields of a spec."""
    return {name: format_field(name, value) for name, value in spec}


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


def describe_fields(spec: ExperimentSpec, names: Iterable[str], separator: str = ", ") -> str:
    """Write some of a spec's fields with their names: "keep 0.5, lr 0.1"."""
    return separator.join(describe_field(name, getattr(spec, name)) for name in names)


def label(spec: ExperimentSpec, varying: Collection[str], separator: str = " ") -> str:
    """Describe what sets a configuration apart: "keep 0.5 lr 0.1"."""
    names = [name for name in varying if name in spec.described_fields] or ["keep"]
    return describe_fields(spec, names, separator)


def find_varying(specs: Collection[ExperimentSpec]) -> list[str]:
    """Name the fields that are not written alike in all specs.

    Their values are compared as written: no dropout on two layers equals that on three.
    """
    return [
        name
        for name in ExperimentSpec.model_fields
        if len({format_field(name, getattr(spec, name)) for spec in specs}) > 1
    ]


def title_metric(metric: str, evaluation: str = "valid") -> str:
    """Name a metric in a title; valid_* metrics may have been taken on the test images."""
    title = _TITLES[metric]
    return title.replace("Validation", "Test") if evaluation == "test" else title


def abbreviate_metric(metric: str) -> str:
    """Name a metric above a column: "valid acc"."""
    return metric.replace("accuracy", "acc").replace("_", " ")


def unit_of(metric: str) -> str:
    """Return the unit of a metric's values: "fraction", "nats" or "s"."""
    return "s" if metric == "seconds" else "nats" if metric.endswith("loss") else "fraction"


def format_metric(metric: str, value: float) -> str:
    """Write a metric's value: "0.9471", seconds as "12.30", a loss that exploded as "1.234e+05"."""
    if metric == "seconds":
        return f"{value:.2f}"
    return f"{value:.4f}" if value < _EXPLODED else f"{value:.4g}"


def format_difference(metric: str, value: float) -> str:
    """Write a difference with its sign, of accuracies in percentage points: "+1.20 pt"."""
    if metric.endswith("accuracy"):
        return f"{100 * value:+z.2f} pt"
    return f"{value:+z.2f} s" if metric == "seconds" else f"{value:+z.4f}"


def describe_difference(metric: str, value: float) -> str:
    """Write a difference without its sign, as a sentence has it: "1.20 points"."""
    if metric.endswith("accuracy"):
        return f"{100 * abs(value):.2f} points"
    return f"{abs(value):.2f} s" if metric == "seconds" else f"{abs(value):.4f}"


def format_interval(format_end: Callable[[float], str], ends: tuple[float, float]) -> str:
    """Write an interval, with the unit once: "+1.00..+1.40 pt"."""
    low, high = map(format_end, ends)
    return f"{low.split(' ')[0]}..{high}"


def format_p(p: float) -> str:
    """Write a p value with three digits, or "<0.001"; one below 0.05 never reads as 0.050."""
    text = "<0.001" if p < 0.001 else f"{p:.3f}"  # noqa: PLR2004
    return "<0.050" if p < 0.05 and text == "0.050" else text  # noqa: PLR2004


def plural(number: int, noun: str) -> str:
    """Write a number with its noun: "1 job", "2,000 jobs"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def join_words(words: Sequence[str], conjunction: str) -> str:
    """Write words as a sentence lists them: "a", "a or b", "a, b or c"."""
    *most, last = words
    return f"{', '.join(most)} {conjunction} {last}" if most else last


def format_ids(ids: Collection[int], most: int = 8) -> str:
    """Write job ids as the selectors that pick them, "1..5, 8"; past `most` of these, "..."."""
    known = set(ids)
    starts = sorted(start for start in known if start - 1 not in known)
    ends = sorted(end for end in known if end + 1 not in known)
    ranges = [f"{a}" if a == b else f"{a}..{b}" for a, b in zip(starts, ends, strict=True)]
    return ", ".join(ranges[:most] + ["..."] * (len(ranges) > most))


def format_all_ids(ids: Collection[int]) -> str:
    """Write job ids as `format_ids` does, however many ranges there are."""
    return format_ids(ids, most=len(ids))


def format_jobs(ids: Collection[int]) -> str:
    """Write job ids with their noun: "job 3", "jobs 1..5, 8"."""
    return f"{'job' if len(ids) == 1 else 'jobs'} {format_ids(ids)}"


def format_duration(seconds: float) -> str:
    """Write a time span shortly: "40 s", "12 min", "3.5 h", "2 days"."""
    for unit, size, limit in (("s", 1, 90), ("min", 60, 90), ("h", 3600, 48)):
        if seconds / size < limit:
            return f"{seconds / size:.{1 if unit == 'h' else 0}f} {unit}"
    return f"{seconds / 86400:.0f} days"


def format_gib(size: int) -> str:
    """Write a number of bytes in GiB: "1.5 GiB"."""
    return f"{size / 2**30:.1f} GiB"


def format_default(value: Any) -> str:
    """Write a value of any type in a table: a float with six digits, a sequence with commas."""
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
    r"""Write control, bidirectional and other unprintable characters as escapes, "\x1b"."""
    if not text.isprintable():
        text = "".join(
            char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
        )
    if not ascii:
        return text
    return text.translate(_ASCII).encode("ascii", "backslashreplace").decode()
