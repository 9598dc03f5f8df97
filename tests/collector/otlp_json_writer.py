"""Any request of OTLP, and its JSON as the specification says a sender writes it."""

import json
from base64 import b64decode
from collections.abc import Sequence
from random import Random
from typing import Any, Final

from google.protobuf import json_format  # type: ignore[import-untyped]  # published without types
from google.protobuf.descriptor import FieldDescriptor as Field  # type: ignore[import-untyped]  # the same

IDS: Final = {"traceId": 16, "spanId": 8, "parentSpanId": 8}
DEEPEST: Final = 9  # levels of messages
TEXTS: Final = ("", "a", "é", "\U0001f3e5", '"\\/\b\n\x00\x7f', "null", "  ", "{}")

SCALARS: Final[dict[int, Sequence[Any]]] = {
    Field.CPPTYPE_STRING: TEXTS,
    Field.CPPTYPE_BOOL: (False, True),
    Field.CPPTYPE_DOUBLE: (0.0, -0.5, 1e300, float("inf"), float("-inf"), 5e-324),
    Field.CPPTYPE_INT32: (0, -1, 2**31 - 1, -(2**31)),
    Field.CPPTYPE_UINT32: (0, 1, 2**32 - 1),
    Field.CPPTYPE_INT64: (0, -1, 2**53 + 1, 2**63 - 1, -(2**63)),
    Field.CPPTYPE_UINT64: (0, 1, 2**53 + 1, 2**64 - 1),
    Field.CPPTYPE_ENUM: (0, 1, 2, 9, -7),
}


def filled(kind: Any, random: Random, depth: int = DEEPEST) -> Any:
    """Return a message of the class *kind* in which any field is set, or not."""
    message = kind()
    for field in kind.DESCRIPTOR.fields:
        if random.random() < 0.4 or (field.message_type is not None and not depth):
            continue
        if field.is_repeated:
            values = [_value(field, random, depth) for _ in range(random.randrange(3))]
            getattr(message, field.name).extend(values)
        elif field.message_type is not None:
            getattr(message, field.name).CopyFrom(_value(field, random, depth))
        else:
            setattr(message, field.name, _value(field, random, depth))
    return message


def _value(field: Any, random: Random, depth: int) -> Any:
    if field.message_type is not None:
        return filled(field.message_type._concrete_class, random, depth - 1)
    if field.type == Field.TYPE_BYTES:
        return random.randbytes(IDS.get(field.json_name, random.randrange(5)))
    return random.choice(SCALARS[field.cpp_type])


def as_json(message: Any) -> bytes:
    """Return *message* as a sender of the specification writes it: hexadecimal ids, integer enums."""
    return json.dumps(as_object(message)).encode()


def as_object(message: Any) -> Any:
    """Return *message* as an object of OTLP/JSON."""
    return _with_hexadecimal_ids(json_format.MessageToDict(message, use_integers_for_enums=True))


def _with_hexadecimal_ids(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_hexadecimal_ids(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {name: b64decode(item).hex() if name in IDS else _with_hexadecimal_ids(item) for name, item in value.items()}
