"""OTLP/JSON to protobuf, by OTLP's rules and not by those of protobuf's own JSON.

Ids are hexadecimal, enums are integers, names are lowerCamelCase only, 64-bit integers are texts or numbers, and what is
unknown is skipped at any depth. A plan is made for each message from its descriptor, so that no field is named here.
"""

import json
from dataclasses import dataclass
from typing import Any, Final, NoReturn, TypeAlias

from google.protobuf.descriptor import FieldDescriptor as Field  # type: ignore[import-untyped]  # published without types

from controltower.collector.json_values import SCALARS, InvalidValueError, Write, base64, hex_id, refuse
from controltower.collector.status import Refusal, bad_request, too_large
from controltower.tracer.journal.records import varint

# What the parsed text costs in memory, in units of some 75 bytes (measured): an object three, a list two, a comma one.
# So many are 200 MiB, as 30,000 spans of eight attributes are; counted in the text before it is parsed.
MOST_COST: Final = 2_800_000
OBJECT_COST: Final = 3
LIST_COST: Final = 2

Plan: TypeAlias = dict[str, Write]


@dataclass(frozen=True, slots=True)
class Converted:
    """A request as protobuf, and words for its sender when it does not hold what its path is for."""

    body: bytes
    words: str = ""


def to_protobuf(plan: Plan, body: bytes) -> Converted | Refusal:
    """Return the request that *body* is by the *plan* of its message, or why it is none. Raises nothing."""
    cost = body.count(b"{") * OBJECT_COST + body.count(b"[") * LIST_COST + body.count(b",")
    if cost > MOST_COST:
        return too_large(f"More than {MOST_COST // OBJECT_COST} objects or {MOST_COST} values in one request.")
    try:
        found = json.loads(body.decode("utf-8", "replace"), parse_constant=_refuse_constant)
        return Converted(_message(plan)(found), _words(plan, found))
    except InvalidValueError as error:
        where = "".join(reversed(error.path)).lstrip(".") or "the body"
        return bad_request(f"Not OTLP/JSON: {where} {error}.", field=where)
    except RecursionError:
        return bad_request("Not OTLP/JSON: it is nested too deeply.")
    except ValueError:  # not JSON at all; its message would quote the text
        return bad_request("The body is not valid JSON.")


def _words(plan: Plan, found: dict[str, Any]) -> str:
    """Return what is said to a sender whose request is taken as an empty one, which it is not."""
    (name,) = plan
    if not found or name in found:
        return ""
    return f"Nothing was read: the body has no field {name}; names in OTLP/JSON are lowerCamelCase."


_plans: dict[str, Plan] = {}


def plan_of(descriptor: Any) -> Plan:
    """Return how each field of the message is written, by its name in JSON; made once. Not for several threads."""
    if descriptor.full_name not in _plans:
        plan = _plans.setdefault(descriptor.full_name, {})  # before its fields: a value may hold values
        for field in descriptor.fields:
            plan[field.json_name] = _repeated(field) if field.is_repeated else _single(field)
    return _plans[descriptor.full_name]


def _message(plan: Plan) -> Write:
    find = plan.get

    def write(value: Any) -> bytes:
        if type(value) is not dict:
            refuse("must be an object")
        parts = []
        name = ""
        try:
            for name, item in value.items():
                field = find(name)
                if field is not None and item is not None:
                    parts.append(field(item))
        except InvalidValueError as error:
            error.path.append(f".{name}")
            raise
        return b"".join(parts)

    return write


def _single(field: Any) -> Write:
    tag, write = _tag(field), _value(field)
    if not _is_delimited(field):
        return lambda item: tag + write(item)

    def write_delimited(item: Any) -> bytes:
        value = write(item)
        size = len(
            value
        )  # what _delimited does: this is called for most fields, and a call more is a tenth of the time
        return tag + (_LENGTHS[size] if size < _MANY else varint(size)) + value

    return write_delimited


def _repeated(field: Any) -> Write:
    """Return the writer of a list; numbers are packed, as every reader takes them."""
    delimited = _is_delimited(field)
    tag = _tag(field) if delimited else varint(field.number << 3 | 2)
    write = _value(field)
    empty: dict[str, Any] | None = (
        {} if field.message_type is not None else None
    )  # null in a list of messages is an empty one

    def write_all(items: Any) -> bytes:
        if type(items) is not list:
            refuse("must be a list")
        parts = []
        number = 0
        try:
            for number, item in enumerate(items):  # noqa: B007 - used below
                part = write(empty if item is None else item)
                parts.append(_delimited(tag, part) if delimited else part)
        except InvalidValueError as error:
            error.path.append(f"[{number}]")
            raise
        return b"".join(parts) if delimited or not parts else _delimited(tag, b"".join(parts))

    return write_all


def _value(field: Any) -> Write:
    """Return what turns a value in JSON into the bytes of *field*, without tag and length."""
    if field.message_type is not None:
        return _message(plan_of(field.message_type))
    if field.type == Field.TYPE_BYTES:
        return hex_id if field.name.endswith("_id") else base64
    return SCALARS[field.type]


_WIRE_TYPES: Final = {
    Field.TYPE_DOUBLE: 1,
    Field.TYPE_FIXED64: 1,
    Field.TYPE_SFIXED64: 1,
    Field.TYPE_FIXED32: 5,
    Field.TYPE_STRING: 2,
    Field.TYPE_BYTES: 2,
    Field.TYPE_MESSAGE: 2,
}


_MANY: Final = 1_024
_LENGTHS: Final = tuple(map(varint, range(_MANY)))


def _is_delimited(field: Any) -> bool:
    return _WIRE_TYPES.get(field.type, 0) == 2


def _tag(field: Any) -> bytes:
    return varint(field.number << 3 | _WIRE_TYPES.get(field.type, 0))


def _delimited(tag: bytes, value: bytes) -> bytes:
    size = len(value)
    return tag + (_LENGTHS[size] if size < _MANY else varint(size)) + value


def _refuse_constant(_: str) -> NoReturn:
    raise ValueError("NaN and Infinity are texts in JSON")
