"""Values of OTLP/JSON as the bytes of protobuf, without tag and length; what a field cannot have is refused."""

import re
import struct
from base64 import b64decode
from binascii import Error as BinasciiError
from binascii import unhexlify
from collections.abc import Callable
from typing import Any, Final, NoReturn, TypeAlias

from google.protobuf.descriptor import FieldDescriptor as Field  # type: ignore[import-untyped]  # published without types

from controltower.tracer.journal.records import varint

# An id that is not hexadecimal: one byte is no id of any length, so the item is treated as one whose id is invalid.
NO_ID: Final = b"\0"

_LONE_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_LARGEST_EXACT: Final = 2**53
_MOST_DIGITS: Final = 20  # of a 64-bit integer with its sign

Write: TypeAlias = Callable[[Any], bytes]


class InvalidValueError(ValueError):
    """A value that its field cannot have; ``path`` says where, from the inside out. Never holds the value."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.path: list[str] = []


def refuse(problem: str) -> NoReturn:
    """Raise InvalidValueError."""
    raise InvalidValueError(problem)


def _text(value: Any) -> bytes:
    if type(value) is not str:
        refuse("must be a text")
    try:
        return value.encode()
    except UnicodeEncodeError:
        return _LONE_SURROGATE.sub("\ufffd", value).encode()


def hex_id(value: Any) -> bytes:
    """Read an id: hexadecimal, in any letter case."""
    if type(value) is not str:
        refuse("must be a hexadecimal text")
    try:
        return unhexlify(value)
    except ValueError:
        return NO_ID


def base64(value: Any) -> bytes:
    """Read both alphabets, with or without padding."""
    if type(value) is not str:
        refuse("must be a text of base64")
    plain = value.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (BinasciiError, ValueError):
        refuse("must be base64")


def _bool(value: Any) -> bytes:
    if type(value) is not bool:
        refuse("must be true or false")
    return b"\1" if value else b"\0"


def _double(value: Any) -> bytes:
    return struct.pack("<d", _real(value))


_REALS: Final = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
_WHOLE: Final = re.compile(r"-?[0-9]+")
_REAL: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")


def _real(value: Any) -> float:
    if type(value) is str:
        if value in _REALS:
            return _REALS[value]
        if not _REAL.fullmatch(value):
            refuse("must be a number")
    elif type(value) not in (int, float):
        refuse("must be a number")
    try:
        real = float(value)
    except OverflowError:
        refuse("is out of range")
    return real


def _whole(value: Any, least: int, most: int) -> int:
    if type(value) is str and len(value) <= _MOST_DIGITS and _WHOLE.fullmatch(value):
        value = int(value)
    elif type(value) is float and value.is_integer() and abs(value) <= _LARGEST_EXACT:
        value = int(value)  # 1.0 and 1e3 are whole
    elif type(value) is not int:
        refuse("must be a whole number")
    if not least <= value <= most:
        refuse("is out of range")
    whole: int = value
    return whole


def _varints(least: int, most: int) -> Write:
    return lambda value: varint(_whole(value, least, most) & 0xFFFF_FFFF_FFFF_FFFF)


def _fixed(form: str, least: int, most: int) -> Write:
    pack = struct.Struct(form).pack
    return lambda value: pack(_whole(value, least, most))


def _zigzag(value: Any) -> bytes:
    whole = _whole(value, -(2**31), 2**31 - 1)
    return varint(whole << 1 if whole >= 0 else (-whole << 1) - 1)


def _enum(value: Any) -> bytes:
    if type(value) is str:
        refuse("must be the integer of the enum, not its name")
    return varint(_whole(value, -(2**31), 2**31 - 1) & 0xFFFF_FFFF_FFFF_FFFF)


SCALARS: Final[dict[int, Write]] = {
    Field.TYPE_STRING: _text,
    Field.TYPE_BOOL: _bool,
    Field.TYPE_DOUBLE: _double,
    Field.TYPE_ENUM: _enum,
    Field.TYPE_SINT32: _zigzag,
    Field.TYPE_INT32: _varints(-(2**31), 2**31 - 1),
    Field.TYPE_UINT32: _varints(0, 2**32 - 1),
    Field.TYPE_INT64: _varints(-(2**63), 2**63 - 1),
    Field.TYPE_UINT64: _varints(0, 2**64 - 1),
    Field.TYPE_FIXED32: _fixed("<I", 0, 2**32 - 1),
    Field.TYPE_FIXED64: _fixed("<Q", 0, 2**64 - 1),
    Field.TYPE_SFIXED64: _fixed("<q", -(2**63), 2**63 - 1),
}
