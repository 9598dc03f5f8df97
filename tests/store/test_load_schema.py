"""The committed load schema is the one that is built, and it is OTLP's."""

import os
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from controltower.store import otlp, otlp_logs, otlp_metrics, otlp_traces
from controltower.tracer.journal import RECEIVED_FIELD, TENANT_FIELD

SQL = Path(str(files("controltower.store").joinpath("sql")))
MADE_FROM_HERE = "-- From here on made by store/"
BUILDERS: dict[str, Any] = {"traces": otlp_traces, "logs": otlp_logs, "metrics": otlp_metrics}
REGENERATE = bool(os.environ.get("REGENERATE"))  # write what is built, to be read in review


@pytest.mark.parametrize("signal", BUILDERS)
def test_the_messages_are_committed_as_built(signal: str) -> None:
    """The message definitions are those of the builder."""
    file = SQL / f"otlp_{signal}.proto"
    if REGENERATE:
        file.write_text(BUILDERS[signal].proto(), encoding="utf-8")

    assert file.read_text(encoding="utf-8") == BUILDERS[signal].proto()


@pytest.mark.parametrize("signal", BUILDERS)
def test_the_statements_are_committed_as_built(signal: str) -> None:
    """The inbox and the views behind it are those of the builder, after what is written by hand."""
    (file,) = SQL.glob(f"000?_otel_{signal}.sql")
    by_hand, mark, rest = file.read_text(encoding="utf-8").partition(MADE_FROM_HERE)
    comment, _, _ = rest.partition("CREATE TABLE")
    expected = by_hand + mark + comment + BUILDERS[signal].statements()
    if REGENERATE:
        file.write_text(expected, encoding="utf-8")

    assert file.read_text(encoding="utf-8") == expected


def test_the_envelope_is_the_journals() -> None:
    """Loader and journal agree on the numbers of the envelope's fields."""
    assert (otlp.RECEIVED_FIELD, otlp.TENANT_FIELD) == (RECEIVED_FIELD, TENANT_FIELD)


@pytest.mark.parametrize(
    ("ours", "message"),
    [
        ("TracesData", "ExportTraceServiceRequest"),
        ("ResourceSpans", "ResourceSpans"),
        ("Resource", "Resource"),
        ("ScopeSpans", "ScopeSpans"),
        ("Scope", "InstrumentationScope"),
        ("Span", "Span"),
        ("Event", "Span.Event"),
        ("Link", "Span.Link"),
        ("Status", "Status"),
        ("KeyValue", "KeyValue"),
    ],
)
def test_field_numbers_and_types_are_those_of_otlp(ours: str, message: str) -> None:
    """What is read of a message has OTLP's name, number and wire type."""
    theirs = {field.name: field for field in _messages(ExportTraceServiceRequest.DESCRIPTOR)[message].fields}
    for name, (number, repeated, kind) in _fields(ours).items():
        if number >= otlp.RECEIVED_FIELD:
            continue
        field = theirs[name]
        assert number == field.number, name
        assert repeated == field.is_repeated, name
        assert kind == _WIRE[field.type], name


_WIRE = {
    1: "double",
    3: "int64",
    5: "int32",
    6: "fixed64",
    8: "bool",
    9: "string",
    11: "message",
    12: "bytes",
    14: "int32",
}


def _fields(message: str) -> dict[str, tuple[int, bool, str]]:
    """Return name -> number, repeated and type of the fields of one of our messages."""
    _, _, body = otlp_traces.proto().partition(f"message {message} {{")
    found = {}
    for line in body[: body.index("}")].split(";"):
        words = line.rpartition("\n")[2].split() if "//" in line else line.split()
        if "=" not in words:
            continue
        *kinds, name, _, number = words
        kind = kinds[-1] if kinds[-1] in _WIRE.values() else "message"
        found[name] = (int(number), kinds[0] == "repeated", kind)
    assert found
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
