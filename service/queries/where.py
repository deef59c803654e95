"""The conditions of `--where`: `lr < 0.05 and not (valid_acc > 0.98 or tag == paper)`, as SQL."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import chain
from typing import Any

from lark import Lark, Token, Transformer, UnexpectedCharacters, UnexpectedToken, v_args
from lark.parsers.lalr_interactive_parser import InteractiveParser
from sqlalchemy import ColumnElement, and_, or_

from models.errors import UsageError
from service.queries.where_fields import Field, Value, Word, find_field, shorten

# Far more than a person writes, far less than Python's stack, or an SQLite expression (1000 deep),
# has room for.
_MOST_CHARACTERS = 10_000
_MOST_NESTED = 20
_MOST_VALUES = 300

_GRAMMAR = r"""
    ?start: disjunction
    ?disjunction: conjunction (_OR conjunction)*
    ?conjunction: negation (_AND negation)*
    ?negation: NOT* atom
    ?atom: "(" disjunction ")" -> group
        | first_field [NOT] _IN "(" _items ")" -> membership
        // 0.01 < lr <= 0.1: fields and values take turns
        | first_field OPERATOR value (OPERATOR field OPERATOR value)* (OPERATOR field)? -> chain
        | first_word OPERATOR field (OPERATOR value OPERATOR field)* (OPERATOR value)? -> chain

    // what begins a condition is a field, unless it is a number or in quotes
    ?first_field: first_name | first_name "[" layer "]" -> at_layer
    ?field: name | name "[" layer "]" -> at_layer
    first_name: NAME -> name
    name: NAME | NUMBER | STRING
    layer: NAME | NUMBER | STRING

    ?value: word | words | word ("," word)+ -> words
    _items: (word | words) ("," (word | words))* ","?
    words: "(" word ("," word)* ","? ")"
    first_word: (NUMBER | STRING) -> word
    word: NAME | NUMBER | STRING

    OPERATOR: /[=!<>]=|<(?!>)|>/
    STRING: /'([^']|'')*'|"([^"]|"")*"/
    NUMBER.1: /[+-]?\.?[0-9][\w.:@\/+-]*/
    NAME: /[\w.:@\/+-]+/
    _AND.2: /and/i _WORD_END
    _OR.2: /or/i _WORD_END
    NOT.2: /not/i _WORD_END
    _IN.2: /[iI][nN]/ _WORD_END
    _WORD_END: /(?![\w.:@\/+-])/
    %ignore /\s+/
"""
_WORDS = {"NAME", "NUMBER", "STRING"}
_NEGATED = {"==": "!=", "!=": "==", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}
_MIRRORED = {"==": "==", "!=": "!=", "<": ">", ">": "<", "<=": ">=", ">=": "<="}
_SIGNS = {"LPAR": "(", "RPAR": ")", "RSQB": "]", "_IN": "in"}
_SPELLINGS = {"=": "==", "&": "and", "&&": "and", "|": "or", "||": "or", "!": "not", "<>": "!="}


def parse_where(text: str) -> ColumnElement[bool]:
    """Return the SQL condition on Job that a person wrote, which needs no join.

    What has no value (a metric before the job's end, a layer that the network lacks) meets no
    comparison, and no `not` of one. Raises UsageError for a text that is not of the grammar.
    """
    _check_characters(text)
    parser = _load_parser().parse_interactive(text)
    last: Token | None = None
    try:
        for token in chain(parser.lexer_thread.lex(parser.parser_state), [Token("$END", "")]):
            parsed = _feed(parser, token, last)
            last = token
    except UnexpectedCharacters as error:
        raise _refuse_characters(text, error.pos_in_stream or 0) from None
    except ValueError as error:
        raise _error(text, (last and last.end_pos) or 0, str(error)) from None
    condition: _Condition = parsed
    return condition.build(False)


@dataclass(frozen=True)
class _Condition:
    """A condition, of how many values it is, and how deep its parentheses are nested.

    `build` makes its SQL or, if it is to be negated, that of its opposite: what has no value meets
    neither `lr < 1` nor `not lr < 1`, which NOT EXISTS, never NULL, could not say.
    """

    build: Callable[[bool], ColumnElement[bool]]
    values: int
    nested: int = 0


@v_args(inline=True)
class _Builder(Transformer[Token, _Condition]):
    """Makes conditions of what the parser has read; raises ValueError for what they cannot say."""

    def disjunction(self, *parts: _Condition) -> _Condition:
        return _join(parts, any_of=True)

    def conjunction(self, *parts: _Condition) -> _Condition:
        return _join(parts, any_of=False)

    def negation(self, *parts: Any) -> _Condition:
        condition: _Condition = parts[-1]
        if len(parts) % 2 == 1:  # not not
            return condition
        return replace(condition, build=lambda negated: condition.build(not negated))

    def group(self, condition: _Condition) -> _Condition:
        if condition.nested == _MOST_NESTED:
            raise ValueError(f"parentheses are more than {_MOST_NESTED} deep")
        return replace(condition, nested=condition.nested + 1)

    def chain(self, *sides_and_operators: Any) -> _Condition:
        sides, operators = sides_and_operators[::2], sides_and_operators[1::2]
        compared = zip(sides[:-1], operators, sides[1:], strict=True)
        return _join([_compare(*each) for each in compared], any_of=False)

    def membership(self, field: Field, negation: Token | None, *values: Value) -> _Condition:
        operator = "!=" if negation else "=="
        parts = [_compare(field, operator, value) for value in values]
        return _join(parts, any_of=not negation)

    def name(self, token: Token) -> Field:
        return find_field(_read_word(token))

    def at_layer(self, field: Field, layer: int) -> Field:
        return field.at(layer)

    def layer(self, token: Token) -> int:
        word = _read_word(token)
        if not re.fullmatch(r"\d{1,3}", word.text, re.ASCII):
            raise ValueError(f"{word} is not the number of a layer, from 0")
        return int(word.text)

    def word(self, token: Token) -> Word:
        return _read_word(token)

    def words(self, *words: Word) -> tuple[Word, ...]:
        return words


@cache
def _load_parser() -> Lark:
    return Lark(_GRAMMAR, parser="lalr", lexer="basic", transformer=_Builder())


def _read_word(token: Token) -> Word:
    if token.type != "STRING":
        return Word(str(token))
    quote = token[0]
    return Word(token[1:-1].replace(quote * 2, quote), is_quoted=True)


def _join(parts: Sequence[_Condition], *, any_of: bool) -> _Condition:
    """Return the condition that any of the parts is met, or that all are."""

    def build(negated: bool) -> ColumnElement[bool]:
        built = [part.build(negated) for part in parts]
        return or_(*built) if any_of != negated else and_(*built)

    values = sum(part.values for part in parts)
    if values > _MOST_VALUES:
        raise ValueError(f"there are more than {_MOST_VALUES} values")
    return _Condition(build, values, max(part.nested for part in parts))


def _compare(left: Any, operator: str, right: Any) -> _Condition:
    """Return the condition of a comparison: of a field with a value, or of a value with a field."""
    if not isinstance(left, Field):
        return _compare(right, _MIRRORED[operator], left)
    field: Field = left
    value = field.read(operator, right)

    def build(negated: bool) -> ColumnElement[bool]:
        return field.compare(_NEGATED[operator] if negated else operator, value)

    return _Condition(build, len(value) if isinstance(value, tuple) else 1)


def _check_characters(text: str) -> None:
    """Refuse what would take long to read, and what PostgreSQL or UTF-8 cannot hold."""
    if len(text) > _MOST_CHARACTERS:
        raise _error(text, 40, f"that is longer than {_MOST_CHARACTERS:,} characters")
    if odd := re.search("[\0\ud800-\udfff]", text):
        raise _error(text, odd.end(), f"{odd[0]!r} is no character of a text")


def _refuse_characters(text: str, position: int) -> UsageError:
    odd = re.compile(r"<>|&&|\|\||.", re.DOTALL).match(text, position)
    assert odd is not None
    if odd[0] in {"'", '"'}:
        problem = f"the quote {odd[0]} is not closed"
    elif odd[0] in _SPELLINGS:
        problem = f"{odd[0]} is not known: write {_SPELLINGS[odd[0]]}"
    else:
        problem = f"{odd[0]!r} is not known: put quotes around text"
    return _error(text, odd.end(), problem)


def _feed(parser: InteractiveParser, token: Token, last: Token | None) -> Any:
    """Let the parser go on; raise ValueError, naming what is wrong, if it cannot."""
    try:
        return parser.feed_token(token)
    except UnexpectedToken:
        expected = parser.accepts()
    if "$END" in expected:
        hint = ": put and, or, or quotes around the whole text" if token.type in _WORDS else ""
        raise ValueError(f"{_read_word(token)} is not expected here{hint}")
    missing = f"{_name_missing(last, expected)} is missing"
    shown = _read_word(last) if last and last.type in _WORDS else last
    raise ValueError(f"{missing} after {shown}" if last else missing)


def _name_missing(last: Token | None, expected: set[str]) -> str:
    """Name what is missing after the last token, from the terminals that could follow it."""
    if "NAME" in expected:
        if last and last.type == "LSQB":
            return "the number of a layer, from 0,"
        may_be_list = "LPAR" in expected or (last and last.type in {"LPAR", "COMMA"})
        return "a value" if may_be_list and "NOT" not in expected else "a field"
    if last and "LSQB" in expected:
        find_field(_read_word(last))  # if there is none of this name, that is what is wrong
    if "OPERATOR" in expected and "RPAR" not in expected:
        return "a comparison"
    return next(sign for terminal, sign in _SIGNS.items() if terminal in expected)


def _error(text: str, end: int, problem: str) -> UsageError:
    """Return the error with what was read last of the text, with dots where there is more."""
    return UsageError(f"--where {shorten(text, end)!r}: {problem}")
