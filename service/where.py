"""The grammar of `--where`: lr < 0.05 and keep[0] == 0.9 and not (valid_acc > 0.98 or tag == x)."""

import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum
from functools import cache, partial
from types import UnionType
from typing import Annotated, Any, Literal, Protocol, TypeVar, Union, get_args, get_origin

from pydantic.fields import FieldInfo
from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Double,
    Numeric,
    String,
    and_,
    cast,
    exists,
    func,
    literal,
    or_,
    select,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeEngine

from models.datasets import DATASETS
from models.errors import UsageError
from models.message import Priority
from models.spec import ExperimentSpec
from models.state import JobState
from models.tables import Job, Result, Tag
from service.comparison import HIGHER_IS_BETTER

GRAMMAR = (
    "comparisons (== != < <= > >= in) of a field with a value, joined by and, or, not and "
    "parentheses: lr < 0.05 and keep[0] == 0.9 and valid_acc > 0.98"
)

# What Python's stack and SQLite (expressions 1000 deep, 32766 bound values) take with ease.
_MOST_CHARACTERS = 10_000
_MOST_NESTED = 20
_MOST_VALUES = 300
_MOST_LAYERS = 100

_KEYWORDS = frozenset({"and", "or", "not", "in"})
_COMPARISONS: Mapping[str, Callable[[Any, Any], ColumnElement[bool]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_UNORDERED = frozenset({"==", "!=", "in", "not in"})
_NEGATED = {
    **{"==": "!=", "<": ">=", "<=": ">", "in": "not in"},
    **{"!=": "==", ">=": "<", ">": "<=", "not in": "in"},
}
_MIRRORED = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_HINTS = {"=": "==", "&": "and", "&&": "and", "|": "or", "||": "or", "!": "not", "<>": "!="}

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<string>'(?:[^']|'')*'|"(?:[^"]|"")*")
    | (?P<word>[\w.:@/+-]+)
    | (?P<sign>[=!<>]=|<(?!>)|[>()\[\],])
    | (?P<end>\Z)
    | (?P<odd><>|&&|\|\||.)
    )""",
    re.VERBOSE | re.DOTALL,
)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE | re.ASCII)
_REPEAT = re.compile(r"(.+)x(\d{1,3})", re.ASCII)


def condition(text: str) -> ColumnElement[bool]:
    """Return the SQL condition on Job that a person wrote.

    It stands alone: `select(Job).where(condition(text))`, with no join. What has no value (a
    metric before the job's end, a layer the network lacks) matches no comparison, and no `not` of
    one either. Raises UsageError for a text that is not of the grammar.
    """
    _refuse_unusable(text)
    try:
        return _Parser(text).parse()
    except _Trouble as trouble:
        message = f"--where {_excerpt(text, trouble.end)!r}: {trouble}"
        raise UsageError(message) from None


class _Trouble(Exception):
    """What is wrong, and where in the text it ends."""

    def __init__(self, message: str, end: int) -> None:
        super().__init__(message)
        self.end = end


def _refuse_unusable(text: str) -> None:
    if len(text) > _MOST_CHARACTERS:
        raise UsageError(f"--where {_shorten(text)}: it is longer than {_MOST_CHARACTERS:,} characters")
    if "\0" in text or any("\ud800" <= char <= "\udfff" for char in text):
        raise UsageError(f"--where {_shorten(text)}: it holds characters that are no text")


def _excerpt(text: str, end: int) -> str:
    """Return the end of what was read before the trouble, and a mark where there is more."""
    read = text[:end] if end <= 60 else f"...{text[end - 60 : end]}"  # noqa: PLR2004
    return f"{read} ..." if text[end:].strip() else read.rstrip()


def _shorten(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:40]}...")  # noqa: PLR2004


@dataclass(frozen=True)
class _Token:
    """A piece of the text; `kind` is string, word, sign, keyword or end."""

    kind: str
    text: str
    end: int

    @property
    def is_none(self) -> bool:
        return self.kind == "word" and self.text.lower() == "none"

    @property
    def is_value(self) -> bool:
        return self.kind in {"word", "string"}

    def __str__(self) -> str:
        return "the end" if self.kind == "end" else _shorten(self.text)


def _tokenize(text: str) -> Iterator[_Token]:
    for found in _TOKEN.finditer(text):
        kind, piece = str(found.lastgroup), found[str(found.lastgroup)]
        if kind == "odd":
            raise _Trouble(_explain_odd(piece), found.end())
        if kind == "string":
            piece = piece[1:-1].replace(piece[0] * 2, piece[0])
        elif piece.lower() in _KEYWORDS:
            kind, piece = "keyword", piece.lower()
        yield _Token(kind, piece, found.end())
        if kind == "end":
            return


def _explain_odd(piece: str) -> str:
    if piece in {"'", '"'}:
        return f"the quote {piece} is not closed"
    if piece in _HINTS:
        return f"{piece} is not of the grammar: write {_HINTS[piece]}"
    return f"{piece!r} is not of the grammar: put text between quotes"


@dataclass(frozen=True)
class _Value:
    """What was written on the other side of a field; one token, or a list in whatever form."""

    tokens: tuple[_Token, ...]
    is_list: bool

    @property
    def is_none(self) -> bool:
        return not self.is_list and self.tokens[0].is_none


@dataclass(frozen=True)
class _Kind:
    """The values that a field takes: in words, how one is read (or KeyError, ValueError), in SQL."""

    noun: str
    read: Callable[[str], Any]
    type: TypeEngine[Any]
    is_ordered: bool = True

    def parse(self, name: str, token: _Token) -> Any:
        """Read a value of the field of that name; raise ValueError with words for a person."""
        if token.is_none:
            raise ValueError(f"{name} is {self.noun}, never none")
        try:
            return self.read(token.text)
        except (KeyError, ValueError):
            raise ValueError(f"{name} is {self.noun}, which {token} is not") from None

    def bind(self, value: Any) -> ColumnElement[Any]:
        """Return a bound parameter; its type, and not the column's, says what fits in it."""
        return literal(value, self.type)


def _read_number(text: str) -> float:
    if not _NUMBER.fullmatch(text) or not math.isfinite(float(text)):
        raise ValueError
    return float(text)


def _read_whole(text: str) -> int:
    if re.fullmatch(r"[+-]?\d{1,18}", text, re.ASCII):
        return int(text)
    number = _read_number(text)
    if number != int(number) or abs(number) >= 2**63:
        raise ValueError
    return int(number)


def _choice(choices: Mapping[str, Any], type: TypeEngine[Any]) -> _Kind:
    return _Kind(f"one of {', '.join(choices)}", choices.__getitem__, type, is_ordered=False)


_NUMBERS = _Kind("a number", _read_number, Double())
_WHOLES = _Kind("a whole number", _read_whole, BigInteger())
_TEXTS = _Kind("text", str, String(), is_ordered=False)
_FLAGS = _choice({"true": True, "false": False}, Boolean())


class _Field(Protocol):
    """What stands on one side of a comparison."""

    @property
    def name(self) -> str: ...

    @property
    def is_ordered(self) -> bool: ...

    def read(self, value: _Value) -> Any:
        """Return what was written as this field's value; raise ValueError in words if it is not."""

    def compare(self, sign: str, value: Any) -> ColumnElement[bool]:
        """Return the condition that the field compares so with the value."""


@dataclass(frozen=True)
class _Scalar:
    """A field of one value."""

    name: str
    kind: _Kind
    column: ColumnElement[Any]
    #: Whether it may be none, which == and != then take as a value.
    is_nullable: bool = False

    @property
    def is_ordered(self) -> bool:
        return self.kind.is_ordered

    def read(self, value: _Value) -> Any:
        if value.is_list:
            raise ValueError(f"{self.name} is {self.kind.noun}, not a list; in takes one")
        if value.is_none and self.is_nullable:
            return None
        return self.kind.parse(self.name, value.tokens[0])

    def compare(self, sign: str, value: Any) -> ColumnElement[bool]:
        if value is None:
            return self.column.is_(None) if sign == "==" else self.column.is_not(None)
        if sign == "!=" and self.is_nullable:
            return self.column.is_distinct_from(self.kind.bind(value))
        return _COMPARISONS[sign](self.column, self.kind.bind(value))


@dataclass(frozen=True)
class _Metric(_Scalar):
    """A figure of the job's result."""

    def compare(self, sign: str, value: Any) -> ColumnElement[bool]:
        return exists().where(Result.job_id == Job.id, super().compare(sign, value))


@dataclass(frozen=True)
class _Tags:
    """The job's tags: equal to each of its tags, and to none if it has none."""

    name: str = "tag"
    is_ordered: bool = False

    def read(self, value: _Value) -> str | None:
        if value.is_list:
            raise ValueError("tag is text, not a list; in takes one")
        return None if value.is_none else value.tokens[0].text

    def compare(self, sign: str, value: str | None) -> ColumnElement[bool]:
        tags = exists().where(Tag.job_id == Job.id)
        if value is None:
            return ~tags if sign == "==" else tags
        tagged = tags.where(Tag.tag == _TEXTS.bind(value))
        return tagged if sign == "==" else ~tagged


@dataclass(frozen=True)
class _Layers:
    """A field of the spec with a value for each hidden layer."""

    name: str
    kind: _Kind
    #: What "none" means on every layer, where it means anything.
    none: float | None = None
    is_ordered: bool = False

    def at(self, index: int) -> _Scalar:
        """Return the field's value at one layer, the first being 0."""
        column = _cast(Job.spec[(self.name, index)], self.kind)
        return _Scalar(f"{self.name}[{index}]", self.kind, column)

    def read(self, value: _Value) -> tuple[Any, ...] | None:
        if value.is_none and self.none is not None:
            return None
        if not value.is_list and not _REPEAT.fullmatch(value.tokens[0].text):
            self.kind.parse(self.name, value.tokens[0])
            raise ValueError(_explain_layers(self.name, value.tokens[0].text))
        return tuple(each for token in value.tokens for each in self._repeat(token))

    def _repeat(self, token: _Token) -> Sequence[Any]:
        """Read 512x3, which is 512 three times, or one value."""
        repeat = _REPEAT.fullmatch(token.text)
        if repeat is None:
            return [self.kind.parse(self.name, token)]
        times = int(repeat[2])
        if not 0 < times <= _MOST_LAYERS:
            raise ValueError(f"{token}: write 1 to {_MOST_LAYERS} layers")
        return [self.kind.parse(self.name, _Token("word", repeat[1], token.end))] * times

    def compare(self, sign: str, value: tuple[Any, ...] | None) -> ColumnElement[bool]:
        if value is None:
            return self._compare_none(sign)
        if sign == "==":
            layers = [self.at(index).compare("==", each) for index, each in enumerate(value)]
            return and_(*layers, self.at(len(value)).column.is_(None))
        bound = [self.kind.bind(each) for each in value]
        layers = [self.at(index).column.is_distinct_from(each) for index, each in enumerate(bound)]
        return or_(*layers, self.at(len(value)).column.is_not(None))

    def _compare_none(self, sign: str) -> ColumnElement[bool]:
        item = _items(Job.spec[self.name]).table_valued("value").c.value
        other = exists(select(item).where(_cast(item, self.kind) != self.kind.bind(self.none)))
        return ~other if sign == "==" else other


def _explain_layers(name: str, text: str) -> str:
    return (
        f"{name} has a value for each hidden layer: "
        f"write {name}[0] == {text}, or {name} == {text}x3, or {name} == ({text}, {text})"
    )


class _items(FunctionElement[Any]):  # noqa: N801 - reads as the SQL function it is
    """The items of a JSON array as rows of one column, `value`."""

    inherit_cache = True
    name = "json_array_elements_text"


@compiles(_items)
def _postgresql(element: _items, compiler: SQLCompiler, **kw: Any) -> str:
    return f"json_array_elements_text({compiler.process(element.clauses, **kw)})"


@compiles(_items, "sqlite")
def _sqlite(element: _items, compiler: SQLCompiler, **kw: Any) -> str:
    return f"json_each({compiler.process(element.clauses, **kw)})"


def _cast(text: ColumnElement[Any], kind: _Kind) -> ColumnElement[Any]:
    """Return what JSON holds, taken out as text, as a value of that kind.

    A spec may hold a whole number beyond BIGINT, at which PostgreSQL would fail the whole query.
    """
    if isinstance(kind.type, String):
        return text
    return cast(text, Numeric() if isinstance(kind.type, BigInteger) else kind.type)


@cache
def _fields() -> Mapping[str, _Field | _Layers]:
    """Return all fields by their names, in the order in which an error lists them."""
    spec = [_spec_field(name, info) for name, info in ExperimentSpec.model_fields.items()]
    fields = {field.name: field for field in (*spec, *_job_fields(), *_metrics())}
    short = {name.replace("accuracy", "acc"): fields[name] for name in HIGHER_IS_BETTER}
    return {**fields, **short}


def _spec_field(name: str, info: FieldInfo) -> _Field | _Layers:
    kinds = list(_alternatives(info.annotation))
    types = [each for each in kinds if each is not type(None)]
    if get_origin(types[0]) is tuple:
        (item, *_), none = _alternatives(get_args(types[0])[0]), {"keep": 1.0}.get(name)
        return _Layers(name, _kind_of(name, item), none)
    kind = _kind_of(name, types[0])
    column = _cast(Job.spec[name].as_string(), kind)
    if info.default is not None:
        # A spec from before dq had the field is read with its default.
        column = func.coalesce(column, kind.bind(info.default))
    return _Scalar(name, kind, column, is_nullable=len(types) < len(kinds))


def _alternatives(annotation: Any) -> Iterator[Any]:
    """Return the types that a type annotation allows, without what pydantic checks of them."""
    if get_origin(annotation) is Annotated:
        yield from _alternatives(get_args(annotation)[0])
    elif get_origin(annotation) in {Union, UnionType}:
        for each in get_args(annotation):
            yield from _alternatives(each)
    else:
        yield annotation


def _kind_of(name: str, annotation: Any) -> _Kind:
    """Return the kind of the values of a spec's field; text, if they are of no other."""
    if name == "dataset":
        return _choice(dict.fromkeys(DATASETS) , String())
    if get_origin(annotation) is Literal:
        return _choice({str(each): each for each in get_args(annotation)}, String())
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return _choice({str(each.value): each.value for each in annotation}, String())
    return {bool: _FLAGS, int: _WHOLES, float: _NUMBERS}.get(annotation, _TEXTS)
