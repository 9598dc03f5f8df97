"""Answers of ours as OTLP/JSON: lowerCamelCase, 64-bit integers as texts, enums as integers."""

import json
from typing import Any

from google.protobuf.descriptor import FieldDescriptor as Field  # type: ignore[import-untyped]  # published without types
from google.rpc.error_details_pb2 import BadRequest  # type: ignore[import-untyped]  # the same


def dump(message: Any) -> bytes:
    """Return *message* as JSON."""
    return json.dumps(_as_json(message), ensure_ascii=False, separators=(",", ":")).encode()


def _as_json(message: Any) -> dict[str, Any]:
    return {
        field.json_name: [_json_value(field, item) for item in value]
        if field.is_repeated
        else _json_value(field, value)
        for field, value in message.ListFields()
    }


def _json_value(field: Any, value: Any) -> Any:
    if field.message_type is None:
        return str(value) if field.type == Field.TYPE_INT64 else value
    if field.message_type.full_name != "google.protobuf.Any":
        return _as_json(value)
    detail = BadRequest()  # the one kind of detail that answers carry
    value.Unpack(detail)
    return {"@type": value.type_url, **_as_json(detail)}
