"""OTLP/JSON and the content of records, number by number of the conformance list, over real sockets."""

import ast
import base64
import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml
from google.protobuf import json_format  # type: ignore[import-untyped]  # published without types
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from controltower.collector.admission import Admitted, Limits, admit
from controltower.collector.otlp import SIGNALS
from tests.collector.conforming import (
    JSON,
    NUMBERS,
    WAYS,
    Way,
    json_request,
    new_request,
    new_span,
    send_json,
    sent,
    spans_of,
    stored_by,
    stored_span,
)
from tests.collector.otlp_json_writer import IDS, as_json, filled
from tests.collector.requests import PROTOBUF, Tower, request_of, running
from tests.samples import SAMPLES, needs_samples

ROOT = Path(__file__).resolve().parents[2]
REQUESTS: dict[str, Any] = {
    "traces": ExportTraceServiceRequest,
    "logs": ExportLogsServiceRequest,
    "metrics": ExportMetricsServiceRequest,
}


@pytest.fixture(scope="module")
def tower(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tower]:
    """A collector with default limits, for all tests here."""
    with running(tmp_path_factory.mktemp("tower")) as started:
        yield started


def attribute_of(value: dict[str, Any] | None) -> dict[str, Any]:
    """Return a span in JSON with one attribute."""
    return {"attributes": [{"key": "k", "value": value}]}


# 7. OTLP/JSON


@pytest.mark.parametrize("write", [str.upper, str.lower, str.title])
def test_o57_ids_are_hexadecimal_in_any_case(tower: Tower, write: Any) -> None:
    """Of the span, its parent, and links."""
    trace_id, span_id = next(NUMBERS).to_bytes(15, "big") + b"\xef", next(NUMBERS).to_bytes(7, "big") + b"\xab"
    ids = {"traceId": write(trace_id.hex()), "spanId": write(span_id.hex())}
    found = stored_span(tower, {**ids, "parentSpanId": ids["spanId"], "links": [ids]})

    assert (found.trace_id, found.span_id, found.parent_span_id) == (trace_id, span_id, span_id)
    assert (found.links[0].trace_id, found.links[0].span_id) == (trace_id, span_id)


@pytest.mark.parametrize("bad", [base64.b64encode(bytes(range(16))).decode(), "", "0" * 32, "ab", "xyz", " " * 32, "é"])
def test_o57_what_is_no_id_costs_its_item_only(tower: Tower, bad: str) -> None:
    """Base64 of sixteen bytes is no id, either; the other spans are stored."""
    answer, stored = sent(tower, lambda: send_json(tower, json_request([{"traceId": bad}, {"name": "good"}])))

    assert answer.json["partialSuccess"]["rejectedSpans"] == "1"
    assert [span.name for span in spans_of(stored)] == ["good"]


def test_o57_ids_of_logs_and_exemplars_are_hexadecimal(tower: Tower) -> None:
    """As everywhere."""
    ids = {"traceId": f"{next(NUMBERS):032X}", "spanId": f"{next(NUMBERS):016X}"}
    log = {"resourceLogs": [{"scopeLogs": [{"logRecords": [ids]}]}]}
    points = [{"asInt": 1, "exemplars": [{**ids, "asDouble": 2}]}]
    metric = {"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"gauge": {"dataPoints": points}}]}]}]}
    (logs,) = stored_by(tower, lambda: send_json(tower, json.dumps(log).encode(), "/v1/logs"), "logs")
    (metrics,) = stored_by(tower, lambda: send_json(tower, json.dumps(metric).encode(), "/v1/metrics"), "metrics")

    for body in (logs, metrics):
        assert bytes.fromhex(ids["traceId"]) in body
        assert bytes.fromhex(ids["spanId"]) in body


@pytest.mark.parametrize("name", ["SPAN_KIND_SERVER", "2", ""])
def test_o58_the_name_of_an_enum_is_refused_by_its_field(tower: Tower, name: str) -> None:
    """Senders must not send it; 400 names the field, not the value."""
    answer = send_json(tower, json_request([{}, {"kind": name}]))

    assert answer.status == 400
    assert answer.json["message"] == (
        "Not OTLP/JSON: resourceSpans[0].scopeSpans[0].spans[1].kind must be the integer of the enum, not its name."
    )


def test_o58_integers_are_enums(tower: Tower) -> None:
    """Also one that no version knows yet."""
    assert stored_span(tower, {"kind": 2}).kind == Span.SPAN_KIND_SERVER
    assert int(stored_span(tower, {"kind": 9}).kind) == 9


def test_o59_unknown_fields_are_ignored_at_every_depth(tower: Tower) -> None:
    """Scalar, object and array; what stands beside them is read."""
    unknown: dict[str, Any] = {"x": 1, "y": {"z": [{}, None, 1.5]}, "w": [[["a"]]]}
    value = {"stringValue": "v", **unknown}
    body = json_request([{"name": "n", "attributes": [{"key": "k", "value": value, **unknown}], **unknown}], **unknown)
    (found,) = spans_of(stored_by(tower, lambda: send_json(tower, body)))

    assert found.name == "n"
    assert list(found.attributes) == [KeyValue(key="k", value=AnyValue(string_value="v"))]


def test_o60_names_are_lower_camel_case_only(tower: Tower) -> None:
    """snake_case is unknown, so ignored; a body of nothing else is an empty request, and its sender is told."""
    found = stored_span(tower, {"name": "n", "dropped_attributes_count": 5, "droppedEventsCount": 6})
    answer, stored = sent(tower, lambda: send_json(tower, b'{"resource_spans":[{"scope_spans":[]}]}'))

    assert (found.dropped_attributes_count, found.dropped_events_count) == (0, 6)
    assert (answer.status, stored) == (200, [])
    assert answer.json == {
        "partialSuccess": {
            "errorMessage": "Nothing was read: the body has no field resourceSpans; names in OTLP/JSON are lowerCamelCase."
        }
    }


@pytest.mark.parametrize("write", [str, int])
@pytest.mark.parametrize("number", [1_544_712_660_000_000_001, 2**53 + 1, 2**64 - 1, 0])
def test_o61_64_bit_integers_are_texts_or_numbers(tower: Tower, number: int, write: Any) -> None:
    """Without loss above 2^53."""
    assert stored_span(tower, {"startTimeUnixNano": write(number)}).start_time_unix_nano == number


@pytest.mark.parametrize("number", [-(2**63), 2**63 - 1, -1])
def test_o61_signed_integers_are_read_whole(tower: Tower, number: int) -> None:
    """As attribute values."""
    for written in (number, str(number)):
        found = stored_span(tower, attribute_of({"intValue": written}))
        assert found.attributes[0].value.int_value == number


@pytest.mark.parametrize(
    "written", ["18446744073709551616", "-1", '"12a"', '""', '" 1"', '"1e3"', "1.5", "true", "[]", "9" * 5_000]
)
def test_o62_no_integer_of_64_bits_is_400(tower: Tower, written: str) -> None:
    """Out of range or malformed."""
    body = json_request([{"startTimeUnixNano": "@"}]).replace(b'"@"', written.encode())

    assert send_json(tower, body).status == 400


@pytest.mark.parametrize("field", ["droppedAttributesCount", "kind", "flags"])
@pytest.mark.parametrize("number", [2**32, -(2**31) - 1])
def test_o62_no_integer_of_32_bits_is_400(tower: Tower, field: str, number: int) -> None:
    """The message names the field."""
    answer = send_json(tower, json_request([{field: number}]))

    assert answer.status == 400
    assert f"spans[0].{field} is out of range" in answer.json["message"]


@pytest.mark.parametrize("write", [base64.b64encode, base64.urlsafe_b64encode])
@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("data", [b"\xfb\xff\xfe", b"\xfb\xff", b"\xfb", b""])
def test_o63_bytes_are_base64_of_four_kinds(tower: Tower, write: Any, padded: bool, data: bytes) -> None:
    """Both alphabets, with and without padding; anything else is 400."""
    text = write(data).decode()
    found = stored_span(tower, attribute_of({"bytesValue": text if padded else text.rstrip("=")}))

    assert found.attributes[0].value.bytes_value == data
    assert send_json(tower, json_request([attribute_of({"bytesValue": "@@@"})])).status == 400


def test_o64_null_is_a_field_that_is_not_set(tower: Tower) -> None:
    """Anywhere."""
    found = stored_span(tower, {"name": None, "attributes": None, "status": None, "events": [{"name": None}]})

    assert (found.name, len(found.attributes), found.HasField("status"), len(found.events)) == ("", 0, False, 1)


@pytest.mark.parametrize("written", ["NaN", "Infinity", "-Infinity", 1.5, 1, "1.5", "1e3", -0.0])
def test_o64_doubles_may_be_words(tower: Tower, written: str | float) -> None:
    """What JSON has no number for is a text."""
    found = stored_span(tower, attribute_of({"doubleValue": written})).attributes[0].value.double_value

    assert str(found) == str(float(written))


@pytest.mark.parametrize("written", [b"NaN", b"Infinity", b"-Infinity", b'"nan"', b'"1_0"', b'"inf"', b"true", b'""'])
def test_o64_other_words_are_400(tower: Tower, written: bytes) -> None:
    """Those of JavaScript without quotes, those of Python, and none at all."""
    body = json_request([attribute_of({"doubleValue": "@"})]).replace(b'"@"', written)

    assert send_json(tower, body).status == 400


def every_value() -> list[KeyValue]:
    mixed = [AnyValue(int_value=1), AnyValue(string_value="a"), AnyValue(), AnyValue(bytes_value=b"\xff")]
    values = {
        "empty": AnyValue(),
        "text": AnyValue(string_value=""),
        "bool": AnyValue(bool_value=False),
        "int": AnyValue(int_value=0),
        "double": AnyValue(double_value=0.5),
        "bytes": AnyValue(bytes_value=b"\x00\xff"),
        "array": AnyValue(array_value=ArrayValue(values=mixed)),
        "no array": AnyValue(array_value=ArrayValue()),
        "map": AnyValue(kvlist_value=KeyValueList(values=[KeyValue(key="k", value=value) for value in mixed])),
    }
    return [KeyValue(key=key, value=value) for key, value in values.items()]


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_o65_all_kinds_of_values_are_taken(tower: Tower, way: Way) -> None:
    """One span with all of them, and each is what it was."""
    span = new_span()
    span.attributes.extend(every_value())
    (found,) = spans_of(stored_by(tower, lambda: way.send(tower, request_of(span))))

    assert found == span


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'{"resourceSpans":[', b'[{"a":'])
@pytest.mark.parametrize("depth", [2_000, 5_000, 200_000])
def test_o66_hostile_json_is_400(tower: Tower, opening: bytes, depth: int, caplog: pytest.LogCaptureFixture) -> None:
    """Deep, and never an error of the interpreter in the log."""
    closing = opening.translate(bytes.maketrans(b"[{", b"]}"), b'resourceSpans":a')[::-1]
    for body in (opening * depth, opening * depth + b"1" + closing * depth):
        assert send_json(tower, body).status == 400

    assert "RecursionError" not in caplog.text


def test_o66_deep_values_under_known_names_are_400(tower: Tower, caplog: pytest.LogCaptureFixture) -> None:
    """What the parser cannot take is refused, whoever notices."""
    for levels in (60, 300, 5_000):
        deep = '{"arrayValue":{"values":[' * levels + "]}}" * levels
        body = json_request([attribute_of({"stringValue": "@"})]).replace(b'{"stringValue": "@"}', deep.encode())
        assert send_json(tower, body).status == 400

    assert "Recursion" not in caplog.text


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"a"',
        b"1",
        b"{",
        b"{} {}",
        b"{}x",
        b"\xef\xbb\xbf{}",
        "{}".encode("utf-16"),
        "{}".encode("utf-16-le"),
        b"{'a':1}",
        b'{"a":1,}',
        b'{"a":01}',
        b'{"resourceSpans":{}}',
        b'{"resourceSpans":[1]}',
        b'{"resourceSpans":[{"scopeSpans":"x"}]}',
    ],
)
def test_o67_what_is_no_json_object_is_400(tower: Tower, body: bytes) -> None:
    """Nothing, another value, half of one, more than one, a byte order mark, UTF-16, and fields of another kind."""
    assert send_json(tower, body).status == 400


def test_o67_of_duplicate_keys_the_last_wins(tower: Tower) -> None:
    """As in every reader of JSON."""
    body = json_request([{"name": "@"}]).replace(b'"name": "@"', b'"name": "first", "name": "last"')
    (found,) = spans_of(stored_by(tower, lambda: send_json(tower, body)))

    assert found.name == "last"


def test_o67_half_a_character_is_the_replacement_character(tower: Tower) -> None:
    """A lone surrogate, and bytes that are no UTF-8, cost neither the span nor its neighbours."""
    surrogate = json_request([{"name": "@"}, {"name": "next"}]).replace(b'"@"', b'"a\\ud83cb\\udc00"')
    paired = json_request([{"name": "@"}]).replace(b'"@"', b'"\\ud83c\\udfe5"')
    invalid = json_request([{"name": "a@b"}, {"name": "next"}]).replace(b"@", b"\xff")

    def names(body: bytes) -> list[str]:
        return [span.name for span in spans_of(stored_by(tower, lambda: send_json(tower, body)))]

    assert names(surrogate) == ["a\ufffdb\ufffd", "next"]
    assert names(paired) == ["\U0001f3e5"]
    assert names(invalid) == ["a\ufffdb", "next"]


def test_o68_answers_are_written_by_the_same_rules(tower: Tower) -> None:
    """lowerCamelCase, and 64-bit integers are texts."""
    answer = send_json(tower, json_request([{"traceId": "00"}] * 3))

    assert answer.body == (
        b'{"partialSuccess":{"rejectedSpans":"3","errorMessage":"3 spans were rejected: '
        b'a trace id must be 16 bytes and a span id 8 bytes, neither all zero."}}'
    )


def test_o69_protobufs_own_json_is_not_used() -> None:
    """It takes ids for base64, and names of enums for enums; the collector never imports it."""
    modules = sorted((ROOT / "collector").rglob("*.py"))
    imported = [
        alias.name
        for path in modules
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    ]

    assert modules
    assert "json_format" not in imported


def with_base64_ids(value: Any) -> Any:
    """Return OTLP/JSON as protobuf's own JSON, which is a second reader of the same data."""
    if isinstance(value, list):
        return [with_base64_ids(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        name: base64.b64encode(bytes.fromhex(item)).decode() if name in IDS else with_base64_ids(item)
        for name, item in value.items()
    }


@needs_samples
@pytest.mark.parametrize(
    ("file", "signal"),
    [("trace", "traces"), ("logs", "logs"), ("metrics", "metrics"), ("events", "logs")],
)
def test_o70_the_official_examples_are_what_protobuf_reads(tower: Tower, file: str, signal: str) -> None:
    """The example in JSON and the equal protobuf request are stored as the same message."""
    example = (SAMPLES / "otlp-proto-examples" / f"{file}.json").read_bytes()
    message = json_format.ParseDict(with_base64_ids(json.loads(example)), REQUESTS[signal]())
    from_json = stored_by(tower, lambda: send_json(tower, example, f"/v1/{signal}"), signal)

    assert [REQUESTS[signal].FromString(body) for body in from_json] == [message]


@needs_samples
def test_o70_the_collectors_golden_trace_is_read_whole(tower: Tower) -> None:
    """Times beyond the signed 64 bits included."""
    golden = yaml.safe_load((SAMPLES / "otelcol-golden" / "golden-traces-roundtrip.yaml").read_text(encoding="utf-8"))
    message = json_format.ParseDict(with_base64_ids(golden), ExportTraceServiceRequest())
    stored = stored_by(tower, lambda: send_json(tower, json.dumps(golden).encode()))

    assert [ExportTraceServiceRequest.FromString(body) for body in stored] == [message]


@pytest.mark.parametrize("media_type", ["protobuf", "json"])
def test_o71_both_encodings_hold_the_same(tower: Tower, media_type: str) -> None:
    """One request sent in each is stored as two bodies of one content; sent again, each is recognised."""
    span = new_span(kind=2, flags=0x301)
    span.attributes.extend(every_value())
    way = WAYS[media_type]
    first = stored_by(tower, lambda: way.send(tower, request_of(span)))

    assert spans_of(first) == [span]
    assert stored_by(tower, lambda: way.send(tower, request_of(span))) == []


# 8. Record content


@pytest.mark.parametrize("length", [0, 15, 16, 17])
def test_o72_a_span_needs_its_ids(tower: Tower, length: int) -> None:
    """Sixteen bytes and eight; the reason is a sentence."""
    answer, stored = sent(tower, lambda: tower.send(request_of(new_span(trace_id=b"\x01" * length))))

    assert len(stored) == (length == 16)
    assert answer.response.partial_success.rejected_spans == (length != 16)


@pytest.mark.parametrize("way", ["protobuf", "json"])
def test_o73_a_log_record_does_not(tower: Tower, way: str) -> None:
    """An id that is none is taken out of it, and the record is kept."""
    ids = [("0102", "0304"), ("00" * 16, "00" * 8), ("", "")]
    records = [{"traceId": trace, "spanId": span, "eventName": f"e{next(NUMBERS)}"} for trace, span in ids]
    body = json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": records}]}]}).encode()
    if way == "protobuf":
        request = json_format.ParseDict(with_base64_ids(json.loads(body)), ExportLogsServiceRequest())
        stored = stored_by(tower, lambda: tower.send(request.SerializeToString(), "/v1/logs"), "logs")
    else:
        stored = stored_by(tower, lambda: send_json(tower, body, "/v1/logs"), "logs")
    found = ExportLogsServiceRequest.FromString(stored[0]).resource_logs[0].scope_logs[0].log_records

    assert [record.event_name for record in found] == [record["eventName"] for record in records]
    assert {(record.trace_id, record.span_id) for record in found} == {(b"", b"")}


def test_o74_cycles_of_parents_are_taken(tower: Tower) -> None:
    """A span that is its own parent, and two that are each other's."""
    own, one, two = new_span(), new_span(), new_span()
    own.parent_span_id = own.span_id
    one.parent_span_id, two.parent_span_id = two.span_id, one.span_id
    two.trace_id = one.trace_id

    assert spans_of(stored_by(tower, lambda: tower.send(request_of(own, one, two)))) == [own, one, two]


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("kind", [0, 5, 9, -1])
def test_o75_unknown_kinds_are_kept(tower: Tower, way: Way, kind: int) -> None:
    """They do not fail the request, and can be read back."""
    body = as_json(ExportTraceServiceRequest.FromString(new_request())).replace(b'"name"', b'"kind": %d, "name"' % kind)
    protobuf = stored_by(tower, lambda: send_json(tower, body))[0]
    (found,) = spans_of([protobuf])
    found.span_id = next(NUMBERS).to_bytes(8, "big")

    assert [int(span.kind) for span in spans_of(stored_by(tower, lambda: way.send(tower, request_of(found))))] == [kind]


def test_o76_an_end_before_the_start_is_taken(tower: Tower) -> None:
    """Accepted as it is; what the store makes of it is tested there."""
    span = new_span(start_time_unix_nano=10, end_time_unix_nano=5)

    assert spans_of(stored_by(tower, lambda: tower.send(request_of(span)))) == [span]


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_o77_duplicate_keys_of_attributes_do_not_fail(tower: Tower, way: Way) -> None:
    """Both are stored; which one is shown is the store's one rule."""
    span = new_span()
    span.attributes.extend(KeyValue(key="k", value=AnyValue(int_value=number)) for number in (1, 2))

    assert spans_of(stored_by(tower, lambda: way.send(tower, request_of(span)))) == [span]


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_o78_flags_are_kept_whole(tower: Tower, way: Way) -> None:
    """Bits that mean nothing yet are not assumed to be zero."""
    span = new_span(flags=0xFFFFFFFF)

    assert spans_of(stored_by(tower, lambda: way.send(tower, request_of(span)))) == [span]


def test_o79_dropped_counts_are_kept_and_raised(tower: Tower) -> None:
    """When records are cut, what is cut is added."""
    span = new_span(dropped_attributes_count=7, dropped_events_count=8, dropped_links_count=2**32 - 1)
    kept = spans_of(stored_by(tower, lambda: tower.send(request_of(span))))
    span.span_id = next(NUMBERS).to_bytes(8, "big")
    span.attributes.extend(KeyValue(key=f"some.attribute.{number}") for number in range(200))
    span.links.extend(Span.Link(trace_id=bytes(range(16))) for _ in range(200))
    (raised,) = spans_of(stored_by(tower, lambda: tower.send(request_of(span))))

    assert kept[0].dropped_attributes_count == 7
    assert raised.dropped_attributes_count == 7 + 201 - 128
    assert raised.dropped_events_count == 8
    assert raised.dropped_links_count == 2**32 - 1


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_o80_indexes_of_profiles_are_absent(way: Way, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """They do not fail the request, and nothing is made of them; sender and log are told, once a minute at most."""
    spans = [new_span() for _ in range(2)]
    for span in spans:
        span.attributes.append(KeyValue(key_strindex=3, value=AnyValue(string_value_strindex=4)))
    with running(tmp_path) as own:
        answers = [way.send(own, request_of(span)) for span in spans]
        stored = spans_of(own.stored_bodies("traces"))

    said = "2 names or texts are indexes into a dictionary that only profiles have: they are absent."
    assert stored == spans
    assert [way.response(answer) for answer in answers] == [{"partialSuccess": {"errorMessage": said}}, {}]
    assert caplog.text.count(f"sender tests, traces: {said}") == 1


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_o81_an_empty_name_is_taken(tower: Tower, way: Way) -> None:
    """It is one that nobody knows."""
    assert [
        span.name for span in spans_of(stored_by(tower, lambda: way.send(tower, request_of(new_span(name="")))))
    ] == [""]


def test_o82_unknown_fields_of_protobuf_are_ignored(tower: Tower) -> None:
    """And stored as they came."""
    body = new_request() + b"\xfa\xf0\x04\x03abc"

    assert stored_by(tower, lambda: tower.send(body)) == [body]


@pytest.mark.parametrize("way", [PROTOBUF, "gzip"])
def test_o83_one_invalid_byte_does_not_lose_the_batch(tower: Tower, way: str) -> None:
    """Of a hundred spans with one that is no UTF-8 and one with NUL, a hundred are stored, and the sender is told."""
    spans = [new_span() for _ in range(98)]
    body = request_of(*spans, new_span(name="in@valid"), new_span(name="n\0l")).replace(b"in@valid", b"in\xffvalid")
    answer, stored = sent(tower, lambda: tower.send(body) if way == PROTOBUF else tower.send_gzip(body))

    assert [span.name for span in spans_of(stored)][98:] == ["in\ufffdvalid", "n\0l"]
    assert spans_of(stored)[:98] == spans
    assert answer.response.partial_success.rejected_spans == 0
    assert answer.response.partial_success.error_message == (
        "1 texts were no UTF-8: what is invalid in them is the replacement character."
    )


@pytest.mark.parametrize("signal", REQUESTS)
def test_o83_no_text_of_any_message_can_be_invalid(signal: str) -> None:
    """Every text field of every message, at any depth, is mended, and bytes are not."""
    for seed in range(30):
        message = filled(REQUESTS[signal], Random(seed))
        body = message.SerializeToString()
        spoilt = body.replace("é".encode(), b"\xc3\x28")  # a byte that continues nothing, and of the same length
        found = admit(SIGNALS[signal], spoilt, Limits())
        assert isinstance(found, Admitted)
        REQUESTS[signal].FromString(found.body)  # raises for a text that is invalid


def array(levels: int) -> AnyValue:
    value = AnyValue(string_value="deep")
    for _ in range(levels):
        value = AnyValue(array_value=ArrayValue(values=[value]))
    return value


def kvlist(levels: int) -> AnyValue:
    value = AnyValue(string_value="deep")
    for _ in range(levels):
        value = AnyValue(kvlist_value=KeyValueList(values=[KeyValue(key="k", value=value)]))
    return value


@pytest.mark.parametrize(("build", "most"), [(array, 47), (kvlist, 31)])
@pytest.mark.parametrize("way", ["protobuf", "json"])
def test_o84_values_nest_as_deep_as_the_parser_goes(tower: Tower, build: Any, most: int, way: str) -> None:
    """47 arrays and 31 maps are taken and kept, one more is 400, in both encodings."""
    taken, refused = new_span(), new_span()
    taken.attributes.append(KeyValue(key="k", value=build(most)))
    refused.attributes.append(KeyValue(key="k", value=build(most + 1)))

    assert spans_of(stored_by(tower, lambda: WAYS[way].send(tower, request_of(taken)))) == [taken]
    body = request_of(refused)
    if way == "protobuf":
        assert tower.send(body).status == 400
    else:
        written = as_json_of_deep(refused)
        assert tower.send(written, content_type=JSON).status == 400


def as_json_of_deep(span: Span) -> bytes:
    """Return a request of *span* in JSON; protobuf's own reader does not go as deep as its writer."""
    written = json_format.MessageToDict(span, use_integers_for_enums=True)
    ids = {name: base64.b64decode(written[name]).hex() for name in ("traceId", "spanId")}
    return json_request([{**written, **ids}])
