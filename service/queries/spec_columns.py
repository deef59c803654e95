"""The fields of a stored spec as SQL expressions, with the same values on SQLite and PostgreSQL.

On PostgreSQL most of them have an index, on exactly this expression and the id.
"""

import operator
from collections.abc import Callable, Iterator, Mapping
from types import UnionType
from typing import Annotated, Any, ClassVar, Union, get_args, get_origin

from sqlalchemy import BigInteger, Boolean, ColumnElement, Double, String, func, literal
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeEngine

from models.spec import ExperimentSpec
from models.tables import Job

_TYPES: Mapping[Any, type[TypeEngine[Any]]] = {bool: Boolean, int: BigInteger, float: Double}
_EXTRACTIONS: Mapping[type[TypeEngine[Any]], Callable[[Any], ColumnElement[Any]]] = {
    # An integer may be beyond BIGINT, for which PostgreSQL would refuse the whole query.
    BigInteger: operator.methodcaller("as_numeric", 1000, 0),
    Boolean: operator.methodcaller("as_boolean"),
    Double: operator.methodcaller("as_float"),
    String: operator.methodcaller("as_string"),
}


def column(name: str) -> ColumnElement[Any]:
    """Return a field of one value; its default for a job that is older than the field."""
    field = ExperimentSpec.model_fields[name]
    sql_type = _type_of(annotation(name))
    value = _EXTRACTIONS[sql_type](Job.spec[name])
    if is_nullable(name) or field.is_required():
        return value
    return func.coalesce(value, literal(field.default, sql_type()))


def layer(name: str, index: int) -> ColumnElement[Any]:
    """Return a field's value at a hidden layer, from 0; NULL where the network has fewer."""
    return _EXTRACTIONS[_type_of(item_annotation(name))](Job.spec[name, index])


def items(name: str) -> ColumnElement[Any]:
    """Return a column to select from: a field's values at all layers, one a row."""
    values: ColumnElement[Any] = _items(Job.spec[name]).table_valued("value").c.value
    return values


def count_layers() -> ColumnElement[int]:
    """Return how many hidden layers the network has."""
    return _length(Job.spec["hidden"])


def is_nullable(name: str) -> bool:
    """Whether a field may be None."""
    return type(None) in _alternatives(ExperimentSpec.model_fields[name].annotation)


def annotation(name: str) -> Any:
    """Return the type of a field without None, and without the limits that pydantic checks."""
    alternatives = _alternatives(ExperimentSpec.model_fields[name].annotation)
    return next(each for each in alternatives if each is not type(None))


def item_annotation(name: str) -> Any:
    """Return the same of a field's value at one layer."""
    return next(_alternatives(get_args(annotation(name))[0]))


def _alternatives(annotation: Any) -> Iterator[Any]:
    if get_origin(annotation) is Annotated:
        yield from _alternatives(get_args(annotation)[0])
    elif get_origin(annotation) in {Union, UnionType}:
        for each in get_args(annotation):
            yield from _alternatives(each)
    else:
        yield annotation


def _type_of(annotation: Any) -> type[TypeEngine[Any]]:
    return _TYPES.get(annotation, String)


class _length(FunctionElement[int]):  # noqa: N801 - reads as the SQL function it is
    """The number of items of a JSON array."""

    inherit_cache = True
    type = BigInteger()
    names: ClassVar = {"postgresql": "jsonb_array_length", "sqlite": "json_array_length"}


class _items(FunctionElement[Any]):  # noqa: N801 - reads as the SQL function it is
    """The items of a JSON array, as rows with one column, `value`."""

    inherit_cache = True
    name = "items"
    names: ClassVar = {"postgresql": "jsonb_array_elements_text", "sqlite": "json_each"}


@compiles(_length)
@compiles(_items)
def _call(element: _length | _items, compiler: SQLCompiler, **kw: Any) -> str:
    name = element.names[compiler.dialect.name]
    return f"{name}({compiler.process(element.clauses, **kw)})"
