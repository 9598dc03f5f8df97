"""The committed load schema is the one that is built, and it is OTLP's."""

import os
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from controltower.store import otlp, otlp_logs, otlp_metrics, otlp_traces
from controltower.tracer.journal import RECEIVED_FIELD, TENANT_FIELD

SQL = Path(str(files("controltower.store").joinpath("sql")))
MADE_FROM_HERE = "-- From here on made by store/"
BUILDERS: dict[str, Any] = {"traces": otlp_traces, "logs": otlp_logs, "metrics": otlp_metrics}
REGENERATE = bool(os.environ.get("REGENERATE"))  # write what is built, to be read in review


MESSAGES: dict[str, str] = {
    **{f"otlp_{signal}": builder.proto() for signal, builder in BUILDERS.items()},
    "otlp_traces_shallow": otlp_traces.proto(otlp.SHALLOW),
    "otlp_traces_plain": otlp_traces.proto(otlp.PLAIN),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_the_messages_are_committed_as_built(name: str) -> None:
    """The message definitions are those of the builder."""
    file = SQL / f"{name}.proto"
    if REGENERATE:
        file.write_text(MESSAGES[name], encoding="utf-8")

    assert file.read_text(encoding="utf-8") == MESSAGES[name]


STATEMENTS: dict[str, str] = {
    **{f"000?_otel_{signal}": builder.statements() for signal, builder in BUILDERS.items()},
    "0026_plain_traces": otlp_traces.plain_statements(),
}


@pytest.mark.parametrize("name", STATEMENTS)
def test_the_statements_are_committed_as_built(name: str) -> None:
    """The inboxes and the views behind them are those of the builder, after what is written by hand."""
    (file,) = SQL.glob(f"{name}.sql")
    by_hand, mark, rest = file.read_text(encoding="utf-8").partition(MADE_FROM_HERE)
    comment, _, _ = rest.partition("CREATE TABLE")
    expected = by_hand + mark + comment + STATEMENTS[name]
    if REGENERATE:
        file.write_text(expected, encoding="utf-8")

    assert file.read_text(encoding="utf-8") == expected


def test_the_envelope_is_the_journals() -> None:
    """Loader and journal agree on the numbers of the envelope's fields."""
    assert (otlp.RECEIVED_FIELD, otlp.TENANT_FIELD) == (RECEIVED_FIELD, TENANT_FIELD)


REQUESTS: dict[str, Any] = {
    "traces": ExportTraceServiceRequest,
    "logs": ExportLogsServiceRequest,
    "metrics": ExportMetricsServiceRequest,
}
# Ours by OTLP's name, where it has another; the levels of a value are not OTLP's.
THEIRS = {
    "Scope": "InstrumentationScope",
    "Event": "Span.Event",
    "Link": "Span.Link",
    "Buckets": "ExponentialHistogramDataPoint.Buckets",
    "ValueAtQuantile": "SummaryDataPoint.ValueAtQuantile",
}
UNROLLED = re.compile(r"(Any|Array|Pairs?)\d*")


@pytest.mark.parametrize("signal", BUILDERS)
def test_field_numbers_and_types_are_those_of_otlp(signal: str) -> None:
    """What is read of a message has OTLP's name, number and wire type."""
    request = REQUESTS[signal].DESCRIPTOR
    known = {**_messages(request), f"{signal.capitalize()}Data": request}
    for ours, fields in _ours(BUILDERS[signal].proto()).items():
        theirs = {field.name: field for field in known[THEIRS.get(ours, ours)].fields}
        for name, (number, repeated, kind) in fields.items():
            if number >= otlp.RECEIVED_FIELD:
                continue
            field = theirs[name]
            assert number == field.number, (ours, name)
            assert repeated == field.is_repeated, (ours, name)
            assert kind == _WIRE[field.type], (ours, name)


_WIRE = {
    1: "double",
    3: "int64",
    4: "uint64",
    5: "int32",
    6: "fixed64",
    7: "fixed32",
    8: "bool",
    9: "string",
    11: "message",
    12: "bytes",
    13: "uint32",
    14: "int32",
    16: "sfixed64",
    17: "sint32",
}


def _ours(proto: str) -> dict[str, dict[str, tuple[int, bool, str]]]:
    """Return our messages: for each field its number, whether it is repeated, and its type."""
    found = {}
    for name, body in re.findall(r"message (\w+) \{(.*?)(?=\nmessage|\Z)", proto, re.DOTALL):
        if UNROLLED.fullmatch(name):
            continue
        fields = re.findall(r"(repeated )?(\w+) (\w+) = (\d+);", body)
        found[name] = {
            field: (int(number), bool(repeated), kind if kind in _WIRE.values() else "message")
            for repeated, kind, field, number in fields
        }
        assert found[name], name
    assert len(found) > 4
    return found


def _messages(root: Any) -> dict[str, Any]:
    """Return every message below *root* by its short name."""
    found: dict[str, Any] = {}

    def visit(message: Any) -> None:
        name = message.full_name.rpartition(".v1.")[2]
        if name not in found:
            found[name] = message
            for field in message.fields:
                if field.message_type is not None:
                    visit(field.message_type)

    visit(root)
    return found
