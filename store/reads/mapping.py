"""Columns of a result to the frozen values that its rows stand for, and back to nothing else; pure.

The converter of each field follows from its type, so that a column added to a dataclass needs no second list. Values are
converted a column at a time and made by position: a cycle of the engine reads hundreds of thousands of rows.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, fields
from decimal import Decimal
from enum import StrEnum
from functools import cache
from itertools import repeat
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from controltower.store.reads.answers import Money

T = TypeVar("T")
Column = Sequence[Any]


def to_values(kind: type[T], names: Sequence[str], columns: Sequence[Column]) -> tuple[T, ...]:
    """Return each row of *columns* as a *kind*. Columns it does not have are ignored, so an older program reads a newer
    table; a field without a column has its default."""
    rows = len(columns[0]) if columns else 0
    if not rows:
        return ()
    given = dict(zip(names, columns, strict=True))
    return tuple(map(kind, *(_values(field, convert, given, rows) for field, convert in _fields(kind))))  # type: ignore[arg-type]  # a class is hashable; mypy asks its instances


def money(amounts: Mapping[str, Decimal]) -> tuple[Money, ...]:
    """Return amounts per currency as money, the largest first, without the zeros."""
    found = [Money(amount, currency) for currency, amount in amounts.items() if amount]
    return tuple(sorted(found, key=lambda one: (-abs(one.amount), one.currency)))


def _values(
    field: "Field[Any]", convert: Callable[[Any], object] | None, given: Mapping[str, Column], rows: int
) -> Iterable[Any]:
    """Return the values of one field, row by row."""
    column = given.get(field.name)
    if column is not None:
        return column if convert is None else map(convert, column)
    make: Any = field.default_factory  # mypy takes the sentinel for what it stands for
    if make is not MISSING:
        return [make() for _ in range(rows)]
    if field.default is MISSING:
        raise KeyError(field.name)
    return repeat(field.default, rows)


@cache
def _fields(kind: type[Any]) -> "tuple[tuple[Field[Any], Callable[[Any], object] | None], ...]":
    hints = get_type_hints(kind)
    return tuple((field, _converter(hints[field.name])) for field in fields(kind))


def _converter(hint: Any) -> Callable[[Any], object] | None:
    """Return what makes a field's value of a column's, or None when they are the same."""
    if get_origin(hint) is tuple:
        item = get_args(hint)[0]
        if item is Money:
            return money
        convert = _converter(item)
        return tuple if convert is None else lambda values: tuple(map(convert, values)) if values else ()
    if isinstance(hint, type) and issubclass(hint, tuple):
        return hint._make  # type: ignore[attr-defined,no-any-return]  # the tuples of a row are named ones
    if isinstance(hint, type) and issubclass(hint, (StrEnum, bool)):
        return {member.value: member for member in hint}.__getitem__ if issubclass(hint, StrEnum) else hint
    return None
