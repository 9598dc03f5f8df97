"""A result row to the frozen value it stands for, and back to nothing else; pure.

The converter of each field follows from its type, so that a column added to a dataclass needs no second list.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from decimal import Decimal
from enum import StrEnum
from functools import cache
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from controltower.store.reads.answers import Money

T = TypeVar("T")


def to_values(kind: type[T], columns: Sequence[str], rows: Sequence[Sequence[object]]) -> tuple[T, ...]:
    """Return each row as a *kind*. Columns it does not have are ignored, so an older program reads a newer table."""
    converters = _converters(kind)  # type: ignore[arg-type]  # a class is hashable; mypy asks its instances
    used = [(index, name, converters[name]) for index, name in enumerate(columns) if name in converters]
    return tuple(kind(**{name: convert(row[index]) for index, name, convert in used}) for row in rows)


def money(amounts: Mapping[str, Decimal]) -> tuple[Money, ...]:
    """Return amounts per currency as money, the largest first, without the zeros."""
    found = [Money(amount, currency) for currency, amount in amounts.items() if amount]
    return tuple(sorted(found, key=lambda one: (-abs(one.amount), one.currency)))


@cache
def _converters(kind: type[Any]) -> dict[str, Callable[[Any], object]]:
    hints = get_type_hints(kind)
    return {column.name: _converter(hints[column.name]) for column in fields(kind)}


def _converter(hint: Any) -> Callable[[Any], object]:
    if get_origin(hint) is tuple:
        item = get_args(hint)[0]
        if item is Money:
            return money
        convert = _converter(item)
        return lambda values: tuple(convert(value) for value in values)
    if isinstance(hint, type) and issubclass(hint, tuple):
        return lambda value: hint(*value)
    if isinstance(hint, type) and issubclass(hint, (StrEnum, bool)):
        return hint
    return lambda value: value
