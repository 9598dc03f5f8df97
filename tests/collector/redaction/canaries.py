"""Synthetic patient data of all classes, and OTLP requests that carry it in every field that can hold a text.

Nothing here is of a real person. Requests are filled along OTLP's own descriptors, so that a field that is added to
OTLP is filled, too.
"""

import base64
from collections.abc import Iterator
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor  # type: ignore[import-untyped]  # published without types
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList

REQUESTS: Final[dict[str, Any]] = {
    "traces": ExportTraceServiceRequest,
    "logs": ExportLogsServiceRequest,
    "metrics": ExportMetricsServiceRequest,
}

# One of each class of the Safe Harbor list, A to R.
CANARIES: Final = {
    "A name": "Zebulon Quackenbush",
    "B street": "4711 Canary Wharf Road, Zzyzx, CA 92309",
    "C date of birth": "DOB 1931-02-29",
    "D phone": "(555) 010-4477",
    "E fax": "fax 555-010-4488",
    "F e-mail": "zebulon.quackenbush@canary.example",
    "G social security number": "078-05-1120",
    "H medical record number": "MRN: 00927364",
    "I health plan": "member id XQK-55512345",
    "J account": "patient account 8800417733",
    "K licence": "driver license Q1234567",
    "L vehicle": "VIN 1ZZCANARY00417733",
    "M device": "serial no. SN-ZQ-99417733",
    "N address of a page": "https://portal.canary.example/p?name=zebulon",
    "O network address": "203.0.113.77",
    "P biometrics": "fingerprint Zq81//kkCanary+==",
    "Q photograph": "face Zebulon.jpg photo 77",
    "R any other": "Zebulon, room 7, cataract on 1931",
}
NUMBER: Final = 927_364_417_733  # an identifier that arrives as an integer
DOUBLE: Final = 927_364_417_734.5

# What must not be found anywhere: the words that tell who it is.
NEEDLES: Final = (
    b"Zebulon",
    b"zebulon",
    b"Quackenbush",
    b"Zzyzx",
    b"Canary Wharf",
    b"1931-02-29",
    b"010-4477",
    b"010-4488",
    b"078-05-1120",
    b"078051120",
    b"00927364",
    b"XQK-555",
    b"8800417733",
    b"Q1234567",
    b"1ZZCANARY",
    b"ZQ-99417733",
    b"203.0.113.77",
    b"kkCanary",
    b"cataract",
    b"927364417733",
    b"927364417734",
    base64.b64encode(b"Zebulon Quackenbush")[:16],
)


def hits(data: bytes) -> list[bytes]:
    """Return what of the canaries stands in *data*."""
    return [needle for needle in NEEDLES if needle in data]


def everywhere(signal: str, canary: str, known: tuple[str, ...] = ()) -> Any:
    """Return a request of *signal* with *canary* in every field of texts or bytes; ids that must be ids stay so.

    Attributes carry it as each kind of value, under names nobody knows, under itself as a name, and under *known* ones.
    """
    request = REQUESTS[signal]()
    _fill(request, canary, known)
    return request


def _fill(message: Any, canary: str, known: tuple[str, ...]) -> None:
    for field in message.DESCRIPTOR.fields:
        if field.message_type is not None and field.message_type.name == "KeyValue":
            getattr(message, field.name).extend(attributes(canary, known))
        elif field.message_type is not None and field.message_type.name == "AnyValue":
            getattr(message, field.name).CopyFrom(next(values(canary)))
        elif field.message_type is not None:
            _fill_messages(message, field, canary, known)
        else:
            _fill_scalar(message, field, canary)


def _fill_messages(message: Any, field: Any, canary: str, known: tuple[str, ...]) -> None:
    if field.containing_oneof is not None:
        return  # the caller of a oneof fills each alternative: see of_each_kind
    target = getattr(message, field.name)
    if not field.is_repeated:
        _fill(target, canary, known)
        return
    for made in of_each_kind(target):
        _fill(made, canary, known)


def of_each_kind(repeated: Any) -> Iterator[Any]:
    """Add a message for each alternative of its oneof, or one when it has none, and yield the parts to fill."""
    first = repeated.add()
    data = first.DESCRIPTOR.oneofs_by_name.get("data")
    yield first
    for field in data.fields if data is not None else ():
        other = repeated.add()
        yield other
        yield from of_each_kind(getattr(other, field.name).data_points)


def _fill_scalar(message: Any, field: Any, canary: str) -> None:
    if field.type == FieldDescriptor.TYPE_BYTES:
        width = {"trace_id": 16, "span_id": 8}.get(field.name)
        identity = message.DESCRIPTOR.name in ("Span", "LogRecord") and width
        setattr(message, field.name, bytes(range(1, identity + 1)) if identity else canary.encode())
    elif field.type == FieldDescriptor.TYPE_STRING:
        if field.is_repeated:
            getattr(message, field.name).append(canary)
        else:
            setattr(message, field.name, canary)


def values(canary: str) -> Iterator[AnyValue]:
    """Yield *canary* as each kind of value."""
    encoded = base64.b64encode(canary.encode()).decode()
    yield AnyValue(string_value=canary)
    yield AnyValue(bytes_value=canary.encode())
    yield AnyValue(string_value=encoded)
    yield AnyValue(string_value=encoded.rstrip("=").replace("+", "-").replace("/", "_"))
    yield AnyValue(int_value=NUMBER)
    yield AnyValue(double_value=DOUBLE)
    yield AnyValue(array_value=ArrayValue(values=[AnyValue(string_value=canary), AnyValue(int_value=NUMBER)]))
    deep = AnyValue(string_value=canary)
    for _ in range(5):
        deep = AnyValue(kvlist_value=KeyValueList(values=[KeyValue(key=canary, value=deep)]))
    yield deep


def attributes(canary: str, known: tuple[str, ...] = ()) -> Iterator[KeyValue]:
    """Yield attributes with *canary* as name and as each kind of value."""
    for at, value in enumerate(values(canary)):
        yield KeyValue(key=f"note.{at}", value=value)
        for name in known:
            yield KeyValue(key=name, value=value)
    yield KeyValue(key=canary, value=AnyValue(string_value="x"))
    yield KeyValue(key=f"controltower.key.{canary}", value=AnyValue(string_value="4711"))
    half = len(canary) // 2
    yield KeyValue(key="first.half", value=AnyValue(string_value=canary[:half]))
    yield KeyValue(key="second.half", value=AnyValue(string_value=canary[half:]))


def timed(message: Any, at_ns: int) -> None:
    """Give every time in *message* a value that can be."""
    for field, value in list(message.ListFields()):
        for each in value if field.is_repeated else [value]:
            if field.message_type is not None:
                timed(each, at_ns)
    for field in message.DESCRIPTOR.fields:
        if field.name.endswith("time_unix_nano"):
            setattr(message, field.name, at_ns)


def without_what_no_pattern_finds(message: Any, canary: str) -> None:
    """Take bare numbers, and texts split over two attributes, out of *message*."""
    halves = (canary[: len(canary) // 2], canary[len(canary) // 2 :])
    for field, value in list(message.ListFields()):
        if field.message_type is None:
            continue
        if field.is_repeated:
            kept = [each for each in value if not _passes(each, halves)]
            del value[:]
            value.extend(kept)
        for each in value if field.is_repeated else [value]:
            without_what_no_pattern_finds(each, canary)


def _passes(message: Any, halves: tuple[str, str]) -> bool:
    value = message if isinstance(message, AnyValue) else getattr(message, "value", None)
    if not isinstance(value, AnyValue):
        return False
    kind = value.WhichOneof("value")
    return kind in ("int_value", "double_value") or (kind == "string_value" and value.string_value in halves)
