"""How the load prints the value of an attribute from its bytes: what the inbox of ``PLAIN`` values reads.

An ``AnyValue`` that is a text, a number, true or false is a message of one field, and its bytes are the tag of the field and
its content. The engine reads them as one text in half the time that its members take, and an expression tells them
apart. What is not exactly one such field, written as every encoder writes it, is refused (``DEEPER``), and an inbox that
reads the members prints it: arrays and lists of pairs, bytes, no value at all, a text of 16 KiB and more, an infinity.
"""

from typing import Final

from controltower.store.conditions import all_of
from controltower.store.otlp_text import DEEPER, go_exponent

# Tags: the number of the field, and how its content is written (https://protobuf.dev/programming-guides/encoding/).
_TEXT: Final = 0x0A
_BOOL: Final = 0x10
_WHOLE: Final = 0x18
_DOUBLE: Final = 0x21

_BITS: Final = 7  # of a number in each byte of a varint; the eighth says that more bytes follow
_LONGEST_VARINT: Final = 10
_MORE: Final = sum(0x80 << 8 * byte for byte in range(16))


def plain_text(value: str) -> str:
    """Return the expression that prints the bytes *value* as an attribute's text."""
    number = f"reinterpretAsFloat64(substring({value}, 2))"
    ways = (
        (_is_text(value), f"substring({value}, 3)"),
        (_is_whole(value), f"toString(toInt64({_varint(value)}))"),
        (_is_long_text(value), f"substring({value}, 4)"),
        (f"{value} = '\\x{_BOOL:02x}\\x00'", "'false'"),
        (f"{value} = '\\x{_BOOL:02x}\\x01'", "'true'"),
        (
            all_of(_starts_with(value, _DOUBLE), f"length({value}) = 9", f"isFinite({number})"),
            go_exponent(f"toString({number})"),
        ),
    )
    # Looked at for the values that are left alone: the loader sets short_circuit_function_evaluation.
    refused = f"toString(throwIf(length({value}) >= 0, '{DEEPER}'))"
    return f"multiIf({', '.join(f'{is_it}, {printed}' for is_it, printed in ways)}, {refused})"


def _is_text(value: str) -> str:
    """Return whether *value* is a text of less than 128 bytes: tag, length, content."""
    return all_of(
        f"length({value}) < {2 + 128}", f"reinterpretAsUInt16({value}) = {_TEXT} + 256 * (length({value}) - 2)"
    )


def _is_long_text(value: str) -> str:
    """Return whether it is one whose length takes two bytes, the lower seven bits first."""
    length = f"(length({value}) - 3)"
    low = f"bitOr(bitAnd({length}, 127), 128)"
    head = f"{_TEXT} + 256 * {low} + 65536 * bitShiftRight({length}, {_BITS})"
    return all_of(
        f"length({value}) BETWEEN {3 + 128} AND {2 + 128**2}",
        f"bitAnd(reinterpretAsUInt32({value}), 0xFFFFFF) = {head}",
    )


def _is_whole(value: str) -> str:
    """Return whether it is a varint: each byte but the last says that more follow."""
    before_last = f"bitShiftLeft(toUInt128(1), 8 * greatest(length({value}), 2) - 16) - 1"
    more = f"toUInt128('{_MORE}')"
    return all_of(
        _starts_with(value, _WHOLE),
        f"length({value}) BETWEEN 2 AND {1 + _LONGEST_VARINT}",
        f"bitAnd({_content(value)}, {more}) = bitAnd({more}, {before_last})",
    )


def _varint(value: str) -> str:
    """Return the number of a varint, in 128 bits of which the lower 64 count: those of a negative number are its complement."""
    place = f"bitShiftLeft(toUInt128(127), {_BITS} * i)"
    return f"arraySum(i -> bitAnd(bitShiftRight({_content(value)}, i), {place}), range({_LONGEST_VARINT}))"


def _content(value: str) -> str:
    return f"reinterpretAsUInt128(substring({value}, 2))"


def _starts_with(value: str, tag: int) -> str:
    return f"startsWith({value}, '\\x{tag:02x}')"
