"""The text of a value of any kind, close to what the load stores of it, so that patterns find what lies inside."""

import json
import math
from base64 import b64encode
from typing import Any


def printed(value: Any) -> bytes:
    """Return the text of an AnyValue (of the lenient messages, whose texts are bytes)."""
    kind = value.WhichOneof("value")
    if kind == "string_value":
        return bytes(value.string_value)
    if kind == "bytes_value":
        return b64encode(value.bytes_value)
    return b"" if kind is None else _json(value, kind).encode("utf-8", "replace")


def _json(value: Any, kind: str | None) -> str:
    if kind == "string_value":
        return _quoted(value.string_value)
    if kind == "bool_value":
        return "true" if value.bool_value else "false"
    if kind == "int_value":
        return str(value.int_value)
    if kind == "double_value":
        return _number(value.double_value)
    if kind == "bytes_value":
        return f'"{b64encode(value.bytes_value).decode()}"'
    if kind == "array_value":
        return f"[{','.join(_json(each, each.WhichOneof('value')) for each in value.array_value.values)}]"
    if kind == "kvlist_value":
        pairs = (f"{_quoted(p.key)}:{_json(p.value, p.value.WhichOneof('value'))}" for p in value.kvlist_value.values)
        return f"{{{','.join(pairs)}}}"
    return "null"


def _number(number: float) -> str:
    whole = math.isfinite(number) and number == int(number) and abs(number) < 1e21
    return str(int(number)) if whole else repr(number)


def _quoted(text: bytes) -> str:
    return json.dumps(text.decode("utf-8", "replace"), ensure_ascii=False)
