"""The fields that `--where` compares: how a value of each is read, and the comparison in SQL."""

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from difflib import get_close_matches
from functools import cache
from typing import Any, Literal, get_args, get_origin

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Double,
    SQLColumnExpression,
    String,
    and_,
    cast,
    exists,
    literal,
    or_,
    select,
)
from sqlalchemy.types import TypeEngine

from models.datasets import DATASETS
from models.message import Priority
from models.metrics import HIGHER_IS_BETTER
from models.spec import ExperimentSpec
from models.state import JobState
from models.tables import Job, Result, Tag
from service.queries import spec_columns
from service.queries.selectors import in_sweep, parse_id

_MOST_LAYERS = 100
#: Of a text, in an error.
_MOST_SHOWN = 60

_OPERATORS: Mapping[str, Callable[[Any, Any], ColumnElement[bool]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE | re.ASCII)
_REPEATED = re.compile(r"(.+)x(\d+)", re.ASCII)


@dataclass(frozen=True)
class Word:
    """A word as it was written, without its quotes if it had any."""

    text: str
    is_quoted: bool = False

    @property
    def is_none(self) -> bool:
        """Whether it is the word none, and not a text of these letters."""
        return not self.is_quoted and self.text.lower() == "none"

    def __str__(self) -> str:
        return repr(shorten(self.text, 40))


#: What a field is compared with: one word, or a list of them.
Value = Word | tuple[Word, ...]


def shorten(text: str, end: int) -> str:
    """Return the text before `end`, of a long one the last of it, and dots for what is left out."""
    shown = text[:end] if end <= _MOST_SHOWN else f"...{text[end - _MOST_SHOWN : end]}"
    return f"{shown} ..." if text[end:].strip() else shown.rstrip()


@dataclass(frozen=True)
class _Type:
    """A type of value: its name, its reader (which may raise KeyError, ValueError), and its SQL."""

    noun: str
    read: Callable[[str], Any]
    sql: type[TypeEngine[Any]]

    def bind(self, value: Any) -> ColumnElement[Any]:
        """Return a bound parameter, of this type rather than the column's, which may be small."""
        return literal(value, self.sql())


def _read_float(text: str) -> float:
    if not _NUMBER.fullmatch(text):
        raise ValueError
    if not math.isfinite(float(text)):
        raise OverflowError
    return float(text)


def _read_integer(text: str) -> int:
    if re.fullmatch(r"[+-]?\d{1,19}", text, re.ASCII):
        number = int(text)  # a float would round it
    elif (number := int(_read_float(text))) != float(text):
        raise ValueError
    if abs(number) >= 2**63:
        raise OverflowError
    return number


def _read_sweep(text: str) -> int:
    if not re.fullmatch(r"s?\d{1,18}", text, re.ASCII):
        raise ValueError
    return parse_id(text.removeprefix("s"))


def _read_priority(text: str) -> int:
    names = {priority.name.lower(): int(priority) for priority in Priority}
    return names[text] if text in names else _read_integer(text)


def _choice(words: Sequence[str]) -> _Type:
    return _Type(f"one of {', '.join(words)}", {word: word for word in words}.__getitem__, String)


_FLOAT = _Type("a number", _read_float, Double)
_INTEGER = _Type("a whole number", _read_integer, BigInteger)
_TEXT = _Type("text", str, String)
_BOOLEAN = _Type("true or false", {"true": True, "false": False}.__getitem__, Boolean)
_SWEEP = _Type("a sweep, such as s7", _read_sweep, BigInteger)
_PRIORITY = _Type("high, normal, low or a number", _read_priority, BigInteger)


@dataclass(frozen=True)
class Field:
    """What `--where` can compare."""

    name: str
    type: _Type
    #: Makes the condition of an operator and what `read` returned.
    compare: Callable[[str, Any], ColumnElement[bool]]
    _: KW_ONLY
    #: Whether none is a value for == and !=.
    is_nullable: bool = False
    #: Whether < compares it, too.
    is_ordered: bool = False

    def read(self, operator: str, value: Value) -> Any:
        """Return the value to compare with; raise ValueError, saying what to write instead."""
        is_none = isinstance(value, Word) and value.is_none and self.is_nullable
        found = None if is_none else self._read(value)
        if operator not in {"==", "!="} and (found is None or not self.is_ordered):
            what = "none" if found is None else self.name
            raise ValueError(f"{what} has no order: compare it with ==, != or in")
        return found

    def at(self, layer: int) -> "Field":
        """Return the value at a hidden layer, from 0; raise ValueError for a field of one value."""
        raise ValueError(f"{self.name} is {self._noun}, and no list: leave out [{layer}]")

    def _read(self, value: Value) -> Any:
        if isinstance(value, Word):
            return self._read_word(value)
        several = f"write {self.name} in (...) for one of several"
        raise ValueError(f"{self.name} is {self._noun}, and no list: {several}")

    def _read_word(self, word: Word) -> Any:
        if word.is_none:
            raise ValueError(f"{self.name} is {self.type.noun}, which none is not")
        try:
            return self.type.read(word.text)
        except OverflowError:
            raise ValueError(f"{word} is too large for {self.name}") from None
        except (KeyError, ValueError):
            raise ValueError(f"{self.name} is {self._noun}, which {word} is not") from None

    @property
    def _noun(self) -> str:
        return f"{self.type.noun} or none" if self.is_nullable else self.type.noun


class _Layers(Field):
    """A field with a value for each hidden layer."""

    def at(self, layer: int) -> Field:
        return _column(f"{self.name}[{layer}]", self.type, spec_columns.layer(self.name, layer))

    def _read(self, value: Value) -> tuple[Any, ...]:
        words = (value,) if isinstance(value, Word) else value
        found = tuple(each for word in words for each in self._read_repeated(word))
        if isinstance(value, Word) and not _REPEATED.fullmatch(value.text):
            name, text = self.name, value.text
            ways = f"{name}[0] == {text}, {name} == {text}x3 or {name} == ({text}, {text})"
            raise ValueError(f"{name} has a value for each hidden layer: write {ways}")
        return found

    def _read_repeated(self, word: Word) -> Sequence[Any]:
        """Read a value, or 512x3, which is three times 512."""
        repeated = _REPEATED.fullmatch(word.text)
        if repeated is None:
            return [self._read_word(word)]
        value, times = repeated.groups()
        if len(times) > len(str(_MOST_LAYERS)) or not 0 < int(times) <= _MOST_LAYERS:
            raise ValueError(f"{word} is not 1 to {_MOST_LAYERS} layers")
        return [self._read_word(Word(value))] * int(times)


def _column(
    name: str, type: _Type, column: SQLColumnExpression[Any], *, is_nullable: bool = False
) -> Field:
    """Return a field of one value, which the column holds."""

    def compare(operator: str, value: Any) -> ColumnElement[bool]:
        if value is None:
            return column.is_(None) if operator == "==" else column.is_not(None)
        if operator == "!=" and is_nullable:
            return column.is_distinct_from(type.bind(value))
        return _OPERATORS[operator](column, type.bind(value))

    is_ordered = type.sql in {BigInteger, Double}
    return Field(name, type, compare, is_nullable=is_nullable, is_ordered=is_ordered)


def _metric(name: str) -> Field:
    """Return a metric of the job's result, if it has one."""
    column = _column(name, _FLOAT, getattr(Result, name))
    return replace(column, compare=lambda *args: _has(Result, column.compare(*args)))


def _membership(
    name: str,
    type: _Type,
    contains: Callable[[Any], ColumnElement[bool]],
    *,
    is_nullable: bool = False,
) -> Field:
    """Return a field of which a job has several values: it equals each of them."""

    def compare(operator: str, value: Any) -> ColumnElement[bool]:
        return contains(value) if operator == "==" else ~contains(value)

    return Field(name, type, compare, is_nullable=is_nullable)


def _layers(name: str, type: _Type) -> Field:
    def layer(index: int) -> ColumnElement[Any]:
        return spec_columns.layer(name, index)

    def compare(operator: str, values: tuple[Any, ...] | None) -> ColumnElement[bool]:
        if values is None:  # no dropout: each layer keeps all
            item = spec_columns.items(name)
            some_drop = exists(select(item).where(cast(item, type.sql) != 1.0))
            return ~some_drop if operator == "==" else some_drop
        bound = [(layer(index), type.bind(value)) for index, value in enumerate(values)]
        one_more = layer(len(values))
        if operator == "==":
            return and_(*(have == wanted for have, wanted in bound), one_more.is_(None))
        # A layer that one of the two lacks is a difference, and not unknown.
        different = [have.is_distinct_from(wanted) for have, wanted in bound]
        return or_(*different, one_more.is_not(None))

    return _Layers(name, type, compare, is_nullable=name == "keep")


def find_field(word: Word) -> Field:
    """Return the field of that name; raise ValueError, which lists the fields, if there is none."""
    fields = _list_fields()
    if not word.is_quoted and word.text in fields:
        return fields[word.text]
    near = get_close_matches(word.text.partition(":")[0], fields, n=1)  # tag:paper
    meant = f" (did you mean {near[0]}?)" if near else ""
    raise ValueError(f"unknown field {word}{meant}: the fields are {', '.join(fields)}")


@cache
def _list_fields() -> Mapping[str, Field]:
    """Return the fields by their names, in the order in which an error lists them."""
    spec, metrics = map(_spec_field, ExperimentSpec.model_fields), map(_metric, HIGHER_IS_BETTER)
    fields = {field.name: field for field in (*spec, *_job_fields(), *metrics)}
    short = {name.replace("accuracy", "acc"): fields[name] for name in HIGHER_IS_BETTER}
    return {**fields, **short}


def _spec_field(name: str) -> Field:
    annotation = spec_columns.annotation(name)
    if get_origin(annotation) is tuple:
        return _layers(name, _type_of(name, spec_columns.item_annotation(name)))
    type = _type_of(name, annotation)
    column, is_nullable = spec_columns.column(name), spec_columns.is_nullable(name)
    return _column(name, type, column, is_nullable=is_nullable)


def _type_of(name: str, annotation: Any) -> _Type:
    if name == "dataset":
        return _choice([*DATASETS])
    if get_origin(annotation) is Literal:
        return _choice(get_args(annotation))
    return {bool: _BOOLEAN, int: _INTEGER, float: _FLOAT}.get(annotation, _TEXT)


def _job_fields() -> Sequence[Field]:
    return (
        _column("layers", _INTEGER, spec_columns.count_layers()),
        _column("id", _INTEGER, Job.id),
        _membership("sweep", _SWEEP, in_sweep),
        _column("state", _choice([*map(str, JobState)]), Job.state),
        _column("name", _TEXT, Job.name, is_nullable=True),
        _column("owner", _TEXT, Job.owner),
        _membership("tag", _TEXT, _is_tagged, is_nullable=True),
        _column("epochs_done", _INTEGER, Job.epochs_done),
        _column("attempt", _INTEGER, Job.attempt),
        _column("priority", _PRIORITY, Job.priority),
    )


def _is_tagged(tag: str | None) -> ColumnElement[bool]:
    """Return the condition that a job has a tag; or, for None, that it has none at all."""
    return ~_has(Tag) if tag is None else _has(Tag, Tag.tag == tag)


def _has(table: type[Result | Tag], *which: ColumnElement[bool]) -> ColumnElement[bool]:
    """Return the condition that a job has such a row, whatever the query around it joins."""
    return exists().where(table.job_id == Job.id, *which).correlate(Job)
