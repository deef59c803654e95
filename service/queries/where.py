"""The grammar of `--where`: `lr < 0.05 and not (valid_acc > 0.98 or tag == paper)`, as SQL."""

import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import Any, Literal, TypeVar, get_args, get_origin

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
from models.errors import UsageError
from models.message import Priority
from models.metrics import HIGHER_IS_BETTER
from models.spec import ExperimentSpec
from models.state import JobState
from models.tables import Job, Result, Tag
from service.queries import spec_columns
from service.queries.selectors import in_sweep

# Far more than a person writes, far less than Python's stack, or an SQLite expression (1000 deep),
# has room for.
_MOST_CHARACTERS = 10_000
_MOST_NESTED = 20
_MOST_VALUES = 300
_MOST_LAYERS = 100

_Item = TypeVar("_Item")
_COMPARISONS: Mapping[str, Callable[[Any, Any], ColumnElement[bool]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_NEGATED = {"==": "!=", "!=": "==", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}
_MIRRORED = {"==": "==", "!=": "!=", "<": ">", ">": "<", "<=": ">=", ">=": "<="}
_EQUALITIES = frozenset({"==", "!="})
_KEYWORDS = frozenset({"and", "or", "not", "in"})
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
_REPEAT = re.compile(r"(.+)x(\d+)", re.ASCII)


def parse_where(text: str) -> ColumnElement[bool]:
    """Return the SQL condition on Job that a person wrote, which needs no join.

    What has no value (a metric before the job's end, a layer that the network lacks) meets no
    comparison, and no `not` of one. Raises UsageError for a text that is not of the grammar.
    """
    try:
        return _Parser(text).parse()
    except _Trouble as trouble:
        shown = _excerpt(text, trouble.end)
        raise UsageError(f"--where {shown!r}: {trouble}") from None


class _Trouble(Exception):
    """What is wrong, in words, and how far the text was read."""

    def __init__(self, words: str, end: int) -> None:
        super().__init__(words)
        self.end = end


def _excerpt(text: str, end: int, most: int = 60) -> str:
    """Return the last that was read, with dots where there is more."""
    read = text[:end] if end <= most else f"...{text[end - most : end]}"
    return f"{read} ..." if text[end:].strip() else read.rstrip()


@dataclass(frozen=True)
class _Token:
    """A piece of the text; `kind` is string, word, keyword, sign or end."""

    kind: str
    text: str
    end: int

    @property
    def is_none(self) -> bool:
        return self.kind == "word" and self.text.lower() == "none"

    @property
    def is_operand(self) -> bool:
        return self.kind in {"string", "word"}

    def __str__(self) -> str:
        return repr(_excerpt(self.text, 40))


def _tokenize(text: str) -> Iterator[_Token]:
    for found in _TOKEN.finditer(text):
        kind, piece = str(found.lastgroup), str(found[str(found.lastgroup)])
        if kind == "odd":
            raise _Trouble(_explain_odd(piece), found.end())
        if kind == "string":
            quote = piece[0]
            piece = piece[1:-1].replace(quote * 2, quote)
        elif piece.lower() in _KEYWORDS:
            kind, piece = "keyword", piece.lower()
        yield _Token(kind, piece, found.end())


def _explain_odd(piece: str) -> str:
    if piece in {"'", '"'}:
        return f"the quote {piece} is not closed"
    if piece in _HINTS:
        return f"{piece} is not known: write {_HINTS[piece]}"
    return f"{piece!r} is not known: put quotes around text"


@dataclass(frozen=True)
class _Value:
    """What a field is compared with, as written: one token, or a list."""

    tokens: tuple[_Token, ...]
    is_list: bool = False

    @property
    def is_none(self) -> bool:
        return not self.is_list and self.tokens[0].is_none


@dataclass(frozen=True)
class _Kind:
    """Some kind of value: in words, how one is read (or KeyError, ValueError), and in SQL."""

    noun: str
    read: Callable[[str], Any]
    type: type[TypeEngine[Any]]

    def bind(self, value: Any) -> ColumnElement[Any]:
        """Return a bound parameter, of this type rather than the column's, which may be small."""
        return literal(value, self.type())


def _read_number(text: str) -> float:
    if not _NUMBER.fullmatch(text):
        raise ValueError
    if not math.isfinite(float(text)):
        raise OverflowError
    return float(text)


def _read_whole(text: str) -> int:
    if re.fullmatch(r"[+-]?\d{1,19}", text, re.ASCII):
        number = int(text)  # a float would round it
    elif (number := int(_read_number(text))) != float(text):
        raise ValueError
    if abs(number) >= 2**63:
        raise OverflowError
    return number


def _read_sweep(text: str) -> int:
    if not re.fullmatch(r"s?\d{1,18}", text, re.ASCII):
        raise ValueError
    return min(int(text.removeprefix("s")), 2**31 - 1)  # ids are 32 bits wide


def _read_priority(text: str) -> int:
    names = {priority.name.lower(): int(priority) for priority in Priority}
    return names[text] if text in names else _read_whole(text)


def _choice(words: Sequence[str]) -> _Kind:
    return _Kind(f"one of {', '.join(words)}", {word: word for word in words}.__getitem__, String)


_NUMBERS = _Kind("a number", _read_number, Double)
_WHOLES = _Kind("a whole number", _read_whole, BigInteger)
_TEXTS = _Kind("text", str, String)
_FLAGS = _Kind("true or false", {"true": True, "false": False}.__getitem__, Boolean)
_SWEEPS = _Kind("a sweep, such as s7", _read_sweep, BigInteger)
_PRIORITIES = _Kind("high, normal, low or a number", _read_priority, BigInteger)


@dataclass(frozen=True)
class _Field:
    """What a person may compare."""

    name: str
    kind: _Kind
    #: Whether it may be none, which == and != then take for a value.
    is_nullable: bool = False

    def read(self, value: _Value) -> Any:
        """Return a value of the field; raise ValueError, in a person's words, if it is none."""
        if value.is_list:
            several = f"write {self.name} in (...) for one of several"
            raise ValueError(f"{self.name} is {self._noun}, and no list: {several}")
        if value.is_none and self.is_nullable:
            return None
        return self._read_token(value.tokens[0])

    def _read_token(self, token: _Token) -> Any:
        if token.is_none:
            raise ValueError(f"{self.name} is {self.kind.noun}, which none is not")
        try:
            return self.kind.read(token.text)
        except OverflowError:
            raise ValueError(f"{token} is too large for {self.name}") from None
        except (KeyError, ValueError):
            raise ValueError(f"{self.name} is {self._noun}, which {token} is not") from None

    @property
    def _noun(self) -> str:
        return f"{self.kind.noun} or none" if self.is_nullable else self.kind.noun

    @property
    def is_ordered(self) -> bool:
        """Whether < compares it, too."""
        return False

    def compare(self, sign: str, value: Any) -> ColumnElement[bool]:
        """Return the condition that the field compares so with what `read` returned."""
        raise NotImplementedError

    def at(self, index: int) -> "_Field":
        """Return the field's value at one layer, from 0; raise ValueError if it has but one."""
        raise ValueError(f"{self.name} is {self._noun}, and no list: leave out [{index}]")


@dataclass(frozen=True, kw_only=True)
class _Column(_Field):
    """A value of the job's own."""

    column: SQLColumnExpression[Any]

    @property
    def is_ordered(self) -> bool:
        return self.kind.type in {BigInteger, Double}

    def compare(self, sign: str, value: Any) -> ColumnElement[bool]:
        if value is None:
            return self.column.is_(None) if sign == "==" else self.column.is_not(None)
        if sign == "!=" and self.is_nullable:
            return self.column.is_distinct_from(self.kind.bind(value))
        return _COMPARISONS[sign](self.column, self.kind.bind(value))


@dataclass(frozen=True, kw_only=True)
class _Metric(_Column):
    """A figure of the job's result, if it has one."""

    def compare(self, sign: str, value: Any) -> ColumnElement[bool]:
        return _has(Result, super().compare(sign, value))


@dataclass(frozen=True, kw_only=True)
class _Membership(_Field):
    """What a job may be in several of; it equals each of them."""

    contains: Callable[[Any], ColumnElement[bool]]

    def compare(self, sign: str, value: Any) -> ColumnElement[bool]:
        return self.contains(value) if sign == "==" else ~self.contains(value)


@dataclass(frozen=True, kw_only=True)
class _Layers(_Field):
    """A value for each hidden layer; none is `neutral` at all of them."""

    neutral: Any = None

    def at(self, index: int) -> _Column:
        layer = spec_columns.layer(self.name, index)
        return _Column(f"{self.name}[{index}]", self.kind, column=layer)

    def read(self, value: _Value) -> tuple[Any, ...] | None:
        if value.is_none and self.is_nullable:
            return None
        read = tuple(each for token in value.tokens for each in self._repeat(token))
        if not value.is_list and not _REPEAT.fullmatch(value.tokens[0].text):
            raise ValueError(self._explain(value.tokens[0].text))
        return read

    def _repeat(self, token: _Token) -> Sequence[Any]:
        """Read a value, or 512x3, which is three times 512."""
        repeat = _REPEAT.fullmatch(token.text)
        if repeat is None:
            return [self._read_token(token)]
        if len(repeat[2]) > 3 or not 0 < int(repeat[2]) <= _MOST_LAYERS:  # noqa: PLR2004
            raise ValueError(f"{token} is not 1 to {_MOST_LAYERS} layers")
        return [self._read_token(_Token("word", repeat[1], token.end))] * int(repeat[2])

    def _explain(self, value: str) -> str:
        name = self.name
        ways = f"{name}[0] == {value}, {name} == {value}x3 or {name} == ({value}, {value})"
        return f"{name} has a value for each hidden layer: write {ways}"

    def compare(self, sign: str, value: tuple[Any, ...] | None) -> ColumnElement[bool]:
        if value is None:
            return self._is_neutral() if sign == "==" else ~self._is_neutral()
        return self._equals(value) if sign == "==" else self._differs(value)

    def _is_neutral(self) -> ColumnElement[bool]:
        item = spec_columns.items(self.name)
        return ~exists(select(item).where(cast(item, self.kind.type) != self.neutral))

    def _equals(self, value: tuple[Any, ...]) -> ColumnElement[bool]:
        layers = [self.at(index).compare("==", each) for index, each in enumerate(value)]
        return and_(*layers, self.at(len(value)).column.is_(None))

    def _differs(self, value: tuple[Any, ...]) -> ColumnElement[bool]:
        """Compare so that a layer that one of the two lacks is a difference, and not unknown."""
        layers = [
            self.at(index).column.is_distinct_from(self.kind.bind(each))
            for index, each in enumerate(value)
        ]
        return or_(*layers, self.at(len(value)).column.is_not(None))


@cache
def _fields() -> Mapping[str, _Field]:
    """Return the fields by their names, in the order in which an error lists them."""
    spec = [*map(_spec_field, ExperimentSpec.model_fields)]
    fields = {field.name: field for field in (*spec, *_job_fields(), *_metric_fields())}
    short = {name.replace("accuracy", "acc"): fields[name] for name in HIGHER_IS_BETTER}
    return {**fields, **short}


def _spec_field(name: str) -> _Field:
    annotation = spec_columns.annotation(name)
    if get_origin(annotation) is tuple:
        kind = _kind_of(name, spec_columns.item_annotation(name))
        return _Layers(name, kind, is_nullable=name == "keep", neutral=1.0)
    kind, is_nullable = _kind_of(name, annotation), spec_columns.is_nullable(name)
    return _Column(name, kind, is_nullable, column=spec_columns.column(name))


def _kind_of(name: str, annotation: Any) -> _Kind:
    if name == "dataset":
        return _choice([*DATASETS])
    if get_origin(annotation) is Literal:
        return _choice(get_args(annotation))
    return {bool: _FLAGS, int: _WHOLES, float: _NUMBERS}.get(annotation, _TEXTS)


def _job_fields() -> Sequence[_Field]:
    return (
        _Column("layers", _WHOLES, column=spec_columns.count_layers()),
        _Column("id", _WHOLES, column=Job.id),
        _Membership("sweep", _SWEEPS, contains=in_sweep),
        _Column("state", _choice([*map(str, JobState)]), column=Job.state),
        _Column("name", _TEXTS, is_nullable=True, column=Job.name),
        _Membership("tag", _TEXTS, is_nullable=True, contains=_is_tagged),
        _Column("epochs_done", _WHOLES, column=Job.epochs_done),
        _Column("attempt", _WHOLES, column=Job.attempt),
        _Column("priority", _PRIORITIES, column=Job.priority),
    )


def _is_tagged(tag: str | None) -> ColumnElement[bool]:
    """Return the condition that a job has a tag; or, for None, that it has none at all."""
    return ~_has(Tag) if tag is None else _has(Tag, Tag.tag == tag)


def _has(table: type[Result | Tag], *which: ColumnElement[bool]) -> ColumnElement[bool]:
    """Return the condition that a job has such a row, whatever the query around it joins."""
    return exists().where(table.job_id == Job.id, *which).correlate(Job)


def _metric_fields() -> Sequence[_Field]:
    return [_Metric(name, _NUMBERS, column=getattr(Result, name)) for name in HIGHER_IS_BETTER]


class _Parser:
    """Reads a text once, from left to right, by recursive descent.

    `negated` travels down to the comparisons, each of which is then turned round: what has no
    value meets neither `lr < 1` nor `not lr < 1`, which NOT EXISTS, never NULL, could not say.
    """

    def __init__(self, text: str) -> None:
        _refuse_unusable(text)
        self._tokens = [*_tokenize(text)]
        self._position = 0
        self._nested = 0
        self._values = 0

    def parse(self) -> ColumnElement[bool]:
        parsed = self._either(negated=False)
        if self._next.kind != "end":
            raise _Trouble(_explain_rest(self._next), self._next.end)
        return parsed

    def _either(self, negated: bool) -> ColumnElement[bool]:
        parts = [self._both(negated)]
        while self._accept("or"):
            parts.append(self._both(negated))
        return _join(parts, all_of=negated)

    def _both(self, negated: bool) -> ColumnElement[bool]:
        parts = [self._one(negated)]
        while self._accept("and"):
            parts.append(self._one(negated))
        return _join(parts, all_of=not negated)

    def _one(self, negated: bool) -> ColumnElement[bool]:
        while self._accept("not"):
            negated = not negated
        return self._nest(negated) if self._accept("(") else self._comparison(negated)

    def _nest(self, negated: bool) -> ColumnElement[bool]:
        self._nested += 1
        if self._nested > _MOST_NESTED:
            raise self._trouble(f"parentheses are more than {_MOST_NESTED} deep")
        parsed = self._either(negated)
        self._expect(")")
        self._nested -= 1
        return parsed

    def _comparison(self, negated: bool) -> ColumnElement[bool]:
        """Parse `lr < 0.1`, `0.01 < lr <= 0.1` (fields and values take turns), `seed in (1, 2)`."""
        left = self._operand()
        if isinstance(left, _Field) and self._is_next("in", "not"):
            return self._membership(left, negated)
        parts: list[ColumnElement[bool]] = []
        while not parts or self._is_next(*_COMPARISONS):
            sign = self._sign(negated)
            right = self._side() if isinstance(left, _Field) else self._field()
            parts.append(self._compare(left, sign, right))
            left = right
        return _join(parts, all_of=not negated)

    def _membership(self, field: _Field, negated: bool) -> ColumnElement[bool]:
        """Parse what follows a field: `in (1, 2)` or `not in (1, 2)`."""
        if self._accept("not"):
            negated = not negated
        self._expect("in")
        self._expect("(")
        values = self._list(self._value)
        sign = "!=" if negated else "=="
        return _join([self._compare(field, sign, value) for value in values], all_of=negated)

    def _operand(self) -> "_Field | _Value":
        token = self._next
        is_value = token.kind == "string" or _NUMBER.match(token.text)
        return self._value() if is_value else self._field()

    def _field(self) -> _Field:
        token = self._take("a field")
        field = _fields().get(token.text) if token.kind == "word" else None
        if field is None:
            raise self._trouble(_explain_unknown(token))
        return self._layer(field) if self._accept("[") else field

    def _layer(self, field: _Field) -> _Field:
        token = self._take("the number of a layer, from 0,")
        if not re.fullmatch(r"\d{1,3}", token.text, re.ASCII):
            raise self._trouble(f"{token} is not the number of a layer, from 0")
        self._expect("]")
        return self._explaining(field.at, int(token.text))

    def _sign(self, negated: bool) -> str:
        for sign, opposite in _NEGATED.items():
            if self._accept(sign):
                return opposite if negated else sign
        raise self._missing("a comparison")

    def _side(self) -> _Value:
        """Parse a value, which may be a list without parentheses: 0.9,0.8,0.8."""
        if self._is_next("("):
            return self._value()
        tokens = [self._take("a value")]
        while self._accept(","):
            tokens.append(self._take("a value"))
        return _Value(tuple(tokens), is_list=len(tokens) > 1)

    def _value(self) -> _Value:
        if self._accept("("):
            return _Value(tuple(self._list(lambda: self._take("a value"))), is_list=True)
        return _Value((self._take("a value"),))

    def _list(self, parse: Callable[[], _Item]) -> list[_Item]:
        """Parse values up to the closing parenthesis."""
        items = [parse()]
        while self._accept(",") and not self._is_next(")"):
            items.append(parse())
        self._expect(")")
        return items

    def _compare(
        self, left: _Field | _Value, sign: str, right: _Field | _Value
    ) -> ColumnElement[bool]:
        if isinstance(left, _Value):
            return self._compare(right, _MIRRORED[sign], left)
        read = self._explaining(left.read, right)
        if sign not in _EQUALITIES and (read is None or not left.is_ordered):
            what = "none" if read is None else left.name
            raise self._trouble(f"{what} has no order: compare it with ==, != or in")
        self._values += len(read) if isinstance(read, tuple) else 1
        if self._values > _MOST_VALUES:
            raise self._trouble(f"there are more than {_MOST_VALUES} values")
        return left.compare(sign, read)

    @property
    def _next(self) -> _Token:
        return self._tokens[self._position]

    def _is_next(self, *texts: str) -> bool:
        return self._next.kind in {"sign", "keyword"} and self._next.text in texts

    def _accept(self, text: str) -> bool:
        found = self._is_next(text)
        self._position += found
        return found

    def _expect(self, text: str) -> None:
        if not self._accept(text):
            raise self._missing(text)

    def _take(self, what: str) -> _Token:
        """Take a token that is a value or a name."""
        if not self._next.is_operand:
            raise self._missing(what)
        self._position += 1
        return self._tokens[self._position - 1]

    def _missing(self, what: str) -> _Trouble:
        if not self._position:
            return self._trouble(f"{what} is missing")
        last = self._tokens[self._position - 1]
        shown = last if last.is_operand else last.text
        return self._trouble(f"{what} is missing after {shown}")

    def _trouble(self, words: str) -> _Trouble:
        """Return the trouble with what was read last."""
        return _Trouble(words, self._tokens[self._position - 1].end if self._position else 0)

    def _explaining(self, read: Callable[[Any], _Item], value: Any) -> _Item:
        """Read a value; turn its ValueError into trouble."""
        try:
            return read(value)
        except ValueError as error:
            raise self._trouble(str(error)) from None


def _refuse_unusable(text: str) -> None:
    """Refuse what would take long to read, and what PostgreSQL or UTF-8 cannot hold."""
    if len(text) > _MOST_CHARACTERS:
        raise _Trouble(f"that is longer than {_MOST_CHARACTERS:,} characters", 40)
    if odd := re.search("[\0\ud800-\udfff]", text):
        raise _Trouble(f"{odd[0]!r} is no character of a text", odd.end())


def _join(parts: Sequence[ColumnElement[bool]], *, all_of: bool) -> ColumnElement[bool]:
    return and_(*parts) if all_of else or_(*parts)


def _explain_rest(token: _Token) -> str:
    hint = ": put and, or, or quotes around the whole text" if token.is_operand else ""
    return f"{token} is not expected here{hint}"


def _explain_unknown(token: _Token) -> str:
    near = get_close_matches(token.text.partition(":")[0], _fields(), n=1)  # tag:paper
    meant = f" (did you mean {near[0]}?)" if near else ""
    return f"unknown field {token}{meant}: the fields are {', '.join(_fields())}"
