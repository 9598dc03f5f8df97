"""What the text of an attribute must be: the Collector's ``pcommon.Value.AsString``, written down once more in Python.

Where the store differs from it on purpose, so does this: see ``store/otlp_text.py``.
"""

import json
import math
from base64 import b64encode
from collections.abc import Iterable
from decimal import Decimal

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

DEPTH = 3


def text_of(value: AnyValue, depth: int = DEPTH) -> str:
    """Return the text of an attribute's value."""
    match value.WhichOneof("value"):
        case "string_value":
            return value.string_value
        case "double_value":
            return double(value.double_value)
        case "bytes_value":
            return b64encode(value.bytes_value).decode()
        case None:
            return ""
        case _:
            return json_of(value, depth)


def json_of(value: AnyValue, levels: int) -> str:
    """Return a value as JSON, with so many levels of containers."""
    match value.WhichOneof("value"):
        case "string_value":
            return json.dumps(value.string_value, ensure_ascii=False)
        case "bool_value":
            return "true" if value.bool_value else "false"
        case "int_value":
            return str(value.int_value)
        case "double_value":
            number = value.double_value
            return double(number) if math.isfinite(number) else f'"{_sign(number)}{abs(number)}"'
        case "bytes_value":
            return f'"{b64encode(value.bytes_value).decode()}"'
        case None:
            return "null"
        case str() as kind if not levels:
            return f'{{"otlp.{kind}":"{b64encode(getattr(value, kind).SerializeToString()).decode()}"}}'
        case "array_value":
            return f"[{','.join(json_of(each, levels - 1) for each in value.array_value.values)}]"
        case _:
            return f"{{{','.join(_pair(each, levels - 1) for each in by_key(value.kvlist_value.values))}}}"


def _pair(item: KeyValue, levels: int) -> str:
    return f"{json.dumps(item.key, ensure_ascii=False)}:{json_of(item.value, levels)}"


def by_key(items: Iterable[KeyValue]) -> list[KeyValue]:
    """Return key-value pairs sorted by key, equal keys in their order."""
    return sorted(items, key=lambda item: item.key.encode())


def double(number: float) -> str:
    """Return a double as Go's ``encoding/json`` does: the shortest digits, an exponent below 1e-6 and from 1e21."""
    if not math.isfinite(number):
        return f"json: unsupported value: {'NaN' if math.isnan(number) else '+Inf' if number > 0 else '-Inf'}"
    if number and not 1e-6 <= abs(number) < 1e21:
        digits, exponent = f"{Decimal(repr(number)):e}".split("e")
        return f"{_short(digits)}e{int(exponent):+d}"
    return _short(f"{Decimal(repr(number)):f}")


def _sign(number: float) -> str:
    return "-" if math.copysign(1, number) < 0 else ""


def _short(digits: str) -> str:
    return digits.rstrip("0").rstrip(".") if "." in digits else digits
