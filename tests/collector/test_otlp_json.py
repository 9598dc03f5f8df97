"""The decoder of OTLP/JSON, held to protobuf, to arbitrary input and to its bounds."""

import json
from random import Random
from typing import Any

import pytest
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # published without types
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from controltower.collector.json_answer import dump
from controltower.collector.otlp import LOGS, METRICS, TRACES, Signal
from controltower.collector.otlp_json import Converted, to_protobuf
from controltower.collector.status import Refusal, bad_request, status_of
from tests.collector.otlp_json_writer import as_json, filled

REQUESTS: dict[str, tuple[Signal, Any]] = {
    "traces": (TRACES, ExportTraceServiceRequest),
    "logs": (LOGS, ExportLogsServiceRequest),
    "metrics": (METRICS, ExportMetricsServiceRequest),
}
NAMES = sorted(
    {"unknown", "key", "value", *TRACES.plan, "scopeSpans", "spans", "attributes", "stringValue", "intValue"}
)
ANY_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["1", "NaN", "AA=="]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
    max_leaves=20,
)


@pytest.mark.parametrize("name", REQUESTS)
@given(st.integers(0, 2**32))
def test_json_is_read_as_the_message_it_was_written_from(name: str, seed: int) -> None:
    """Every field of every message of every signal, with any value."""
    signal, kind = REQUESTS[name]
    message = filled(kind, Random(seed))
    converted = to_protobuf(signal.plan, as_json(message))

    assert isinstance(converted, Converted)
    assert kind.FromString(converted.body) == message


@given(st.binary(max_size=200) | st.text(max_size=100).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_arbitrary_bytes_are_read_or_refused(body: bytes) -> None:
    """Nothing is raised, whatever the bytes are."""
    assert isinstance(to_protobuf(TRACES.plan, body), Converted | Refusal)


@given(st.dictionaries(st.sampled_from(NAMES), ANY_JSON, max_size=3))
def test_arbitrary_json_is_read_or_refused(value: dict[str, Any]) -> None:
    """JSON of any shape under names that are known is a refusal or a message that the parser takes."""
    converted = to_protobuf(TRACES.plan, json.dumps({"resourceSpans": [value], **value}).encode())

    assert isinstance(converted, Converted | Refusal)
    if isinstance(converted, Converted):
        TRACES.request.FromString(converted.body)


@pytest.mark.parametrize("opening", ["[", '{"a":', '{"resourceSpans":[', '{"resourceSpans":[{"scopeSpans":[', "[{"])
@pytest.mark.parametrize("depth", [500, 5_000, 100_000])
def test_hostile_nesting_is_refused(opening: str, depth: int) -> None:
    """Depth is an answer of 400, never an error of the interpreter."""
    refused = to_protobuf(TRACES.plan, opening.encode() * depth)

    assert isinstance(refused, Refusal)
    assert refused.http == 400


@pytest.mark.parametrize("levels", [10, 45, 100, 240, 400])
def test_deep_values_are_read_as_deep_as_the_parser_goes(levels: int) -> None:
    """What protobuf refuses as too deep is refused in JSON, too, whichever of the two notices."""
    value = '{"arrayValue":{"values":[' * levels + '{"stringValue":"deep"}' + "]}}" * levels
    span = f'{{"attributes":[{{"key":"k","value":{value}}}]}}'
    converted = to_protobuf(TRACES.plan, f'{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{span}]}}]}}]}}'.encode())

    if isinstance(converted, Converted) and levels > 47:
        with pytest.raises(DecodeError):
            TRACES.request.FromString(converted.body)
    elif levels <= 47:
        assert isinstance(converted, Converted)
        TRACES.request.FromString(converted.body)


@pytest.mark.parametrize("bomb", [b"{},", b"[],", b"0,", b'{"a":1},'])
def test_what_would_cost_too_much_memory_is_refused_unparsed(bomb: bytes) -> None:
    """Millions of small values are counted in the text."""
    refused = to_protobuf(TRACES.plan, b'{"resourceSpans":[' + bomb * 3_000_000 + b"{}]}")

    assert isinstance(refused, Refusal)
    assert refused.http == 413


@pytest.mark.parametrize("signal", [TRACES, LOGS, METRICS])
def test_answers_are_written_by_the_same_rules(signal: Signal) -> None:
    """64-bit integers are texts; a success without anything to say is an empty object."""
    assert dump(signal.respond(0, "")) == b"{}"
    rejected = json.loads(dump(signal.respond(3, "Why.")))["partialSuccess"]
    assert sorted(rejected.values()) == ["3", "Why."]
    assert json.loads(dump(signal.respond(0, "A warning."))) == {"partialSuccess": {"errorMessage": "A warning."}}


def test_a_status_is_written_with_its_details() -> None:
    """The type of a detail stands beside its fields."""
    written = json.loads(dump(status_of(bad_request("No.", field="resourceSpans[0]"))))

    assert written == {
        "code": 3,
        "message": "No.",
        "details": [
            {
                "@type": "type.googleapis.com/google.rpc.BadRequest",
                "fieldViolations": [{"field": "resourceSpans[0]", "description": "No."}],
            }
        ],
    }
