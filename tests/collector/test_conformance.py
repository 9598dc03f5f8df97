"""OTLP/HTTP, number by number of the conformance list, over real sockets: paths, types, sizes, answers and errors.

``test_conformance_json`` has what concerns JSON and the content of records, ``test_conformance_grpc`` gRPC.
"""

import errno
import gzip
import http.client
import json
import re
import socket
import threading
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest  # type: ignore[import-untyped]  # generated, without a marker
from opentelemetry._logs import LogRecord as LogRecordOfSdk
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, MetricExportResult
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.trace import SpanContext

from controltower.collector import intake, receive
from controltower.collector import status as refusals
from controltower.collector.errors import SettingsError
from controltower.collector.grpc_server import options as grpc_options
from controltower.collector.grpc_status import ending_of
from controltower.collector.settings import Settings, read_settings
from controltower.tracer.journal.records import varint
from tests.collector.conforming import (
    JSON,
    NO_REQUEST,
    WAYS,
    Way,
    new_request,
    new_span,
    send_json,
    sent,
    spans_of,
    stored_by,
)
from tests.collector.requests import PATIENCE_S, PROTOBUF, Tower, request_of, running, span
from tests.collector.test_exporter import exporting, some_spans
from tests.collector.test_signals import EVERY_KIND, logs_of
from tests.tracer.journals import BrokenDisk

SETTINGS = Settings(port=0, deadline_s=60.0)  # a busy machine is no slow disk
PATHS = ("/v1/traces", "/v1/logs", "/v1/metrics")
BODIES = {"traces": new_request(), "logs": logs_of(LogRecord(severity_text="INFO")), "metrics": EVERY_KIND}
SMALL_BYTES = 5_000


@pytest.fixture(scope="module")
def tower(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tower]:
    """A collector with default limits, for all tests here."""
    with running(tmp_path_factory.mktemp("default")) as started:
        yield started


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tower]:
    """A collector that takes small bodies only."""
    with running(tmp_path_factory.mktemp("small"), replace(SETTINGS, body_bytes=SMALL_BYTES)) as started:
        yield started


@pytest.fixture(scope="module")
def overloaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tower]:
    """A collector without room for one more body."""
    with running(tmp_path_factory.mktemp("overloaded"), replace(SETTINGS, in_flight_bytes=1)) as started:
        yield started


# 1. Endpoints and method


def test_o1_default_ports_are_those_of_the_specification() -> None:
    """4318 for HTTP and 4317 for gRPC, both settings."""
    chosen = read_settings({"CONTROLTOWER_COLLECTOR_PORT": "14318", "CONTROLTOWER_COLLECTOR_GRPC_PORT": "14317"})

    assert (Settings().port, Settings().grpc_port) == (4318, 4317)
    assert (chosen.port, chosen.grpc_port) == (14318, 14317)


def test_o2_beyond_loopback_only_with_tls_or_in_plain_words() -> None:
    """The default address is loopback; another one needs TLS or the word that a proxy ends it."""
    with pytest.raises(SettingsError, match="clear text"):
        Settings(host="0.0.0.0")

    assert Settings().host == "127.0.0.1"
    assert Settings(host="0.0.0.0", insecure=True).insecure


@pytest.mark.parametrize("signal", BODIES)
def test_o3_each_signal_has_its_path(tower: Tower, signal: str) -> None:
    """Three posts, three 200, each stored byte for byte."""
    assert stored_by(tower, lambda: tower.send(BODIES[signal], f"/v1/{signal}"), signal) == [BODIES[signal]]


def test_o3_the_exporters_of_logs_and_metrics_arrive(tower: Tower) -> None:
    """As the SDK for Python has them, each record and each point once."""
    headers = {"Authorization": f"Bearer {tower.token}"}
    logs, metrics = LoggerProvider(shutdown_on_exit=False), InMemoryMetricReader()
    logs.add_log_record_processor(
        SimpleLogRecordProcessor(OTLPLogExporter(f"{tower.url}/v1/logs", headers=headers, timeout=10))
    )
    stored = len(tower.stored_bodies("logs"))
    logs.get_logger("tests").emit(LogRecordOfSdk(body="Zwölf", severity_text="INFO"))
    logs.shutdown()
    meters = MeterProvider([metrics], shutdown_on_exit=False)
    meters.get_meter("tests").create_counter("orders").add(3)
    read = metrics.get_metrics_data()
    exporter = OTLPMetricExporter(f"{tower.url}/v1/metrics", headers=headers, timeout=10)
    outcome = exporter.export(read) if read is not None else None
    exporter.shutdown()
    meters.shutdown()

    assert outcome is MetricExportResult.SUCCESS
    assert "Zwölf".encode() in b"".join(tower.stored_bodies("logs")[stored:])
    assert b"orders" in tower.stored_bodies("metrics")[-1]


def test_o4_profiles_are_not_offered(tower: Tower) -> None:
    """What is in development is not found, with a Status."""
    assert WAYS["json"].status(send_json(tower, b"{}", "/v1development/profiles"))[0] == "NOT_FOUND"


def test_o5_paths_may_stand_behind_a_prefix(tmp_path: Path) -> None:
    """Each signal is at the prefix and its path, and nowhere else; a prefix that cannot work is refused."""
    with running(tmp_path, replace(SETTINGS, path_prefix="/otlp")) as behind:
        found = [behind.send(b"", f"/otlp{path}").status for path in PATHS]
        elsewhere = [behind.send(b"", path).status for path in PATHS]

    assert (found, elsewhere) == ([200] * 3, [404] * 3)
    for wrong in ("otlp", "/otlp/", "/a b", "/"):
        with pytest.raises(SettingsError, match="PATH_PREFIX"):
            replace(SETTINGS, path_prefix=wrong)


@pytest.mark.parametrize("path", PATHS)
def test_o6_a_trailing_slash_is_no_redirect(tower: Tower, path: str) -> None:
    """Stock clients count a 3xx as success and lose the data; below a path there is nothing."""
    assert [tower.send(b"", path + end).status for end in ("", "/")] == [200, 200]
    assert [tower.send(b"", path + end).status for end in ("//", "/x")] == [404, 404]


@pytest.mark.parametrize("method", ["GET", "PUT", "HEAD", "OPTIONS", "DELETE", "PATCH"])
def test_o7_other_methods_are_refused(tower: Tower, method: str) -> None:
    """405 names the method that is allowed, in the Collector's words."""
    answer = tower.send(path="/v1/traces", method=method, content_type=None)

    assert (answer.status, answer.headers["allow"]) == (405, "POST")
    assert answer.body == (b"" if method == "HEAD" else b"405 method not allowed, supported: [POST]")


@pytest.mark.parametrize("path", ["/", "/v1/trace", "/docs", "/openapi.json", "/v1"])
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_o8_an_unknown_path_is_a_status(tower: Tower, way: Way, path: str) -> None:
    """404, in the encoding of the request."""
    answer = way.send(tower, new_request(), path)

    assert answer.status == 404
    assert way.status(answer) == ("NOT_FOUND", "There is nothing at this path.")


def test_o9_one_port_takes_both_encodings_over_http_1_1(tower: Tower) -> None:
    """The type decides, also on one connection."""
    connection = http.client.HTTPConnection(tower.host, tower.port, timeout=PATIENCE_S)
    versions = []
    for media_type, body in ((PROTOBUF, b""), (JSON, b"{}"), (PROTOBUF, b"")):
        headers = {"Content-Type": media_type, "Authorization": f"Bearer {tower.token}"}
        connection.request("POST", "/v1/traces", body, headers)
        response = connection.getresponse()
        versions.append((response.status, response.version, response.read()))
    connection.close()

    assert versions == [(200, 11, b""), (200, 11, b"{}"), (200, 11, b"")]


# 2. Content type and encoding


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_o10_both_types_are_read(tower: Tower, way: Way) -> None:
    """Protobuf and JSON of one request are stored as one."""
    body = new_request(3)

    assert spans_of(stored_by(tower, lambda: way.send(tower, body))) == spans_of([body])


@pytest.mark.parametrize("media_type", ["application/json; charset=utf-8", "Application/JSON", "application/json;x=y"])
def test_o11_parameters_and_case_of_the_type_do_not_count(tower: Tower, media_type: str) -> None:
    """Media types are compared as RFC 9110 says, for both encodings."""
    protobuf = media_type.lower().replace("json", "X-Protobuf")

    assert tower.send(b"{}", content_type=media_type).status == 200
    assert tower.send(b"", content_type=protobuf).headers["content-type"] == PROTOBUF


@pytest.mark.parametrize("media_type", [None, "", "text/plain", "application/protobuf", "json"])
def test_o12_another_type_is_refused(tower: Tower, media_type: str | None) -> None:
    """415 names what is supported, in the words of the OpenTelemetry Collector."""
    answer = tower.send(new_request(), content_type=media_type)

    assert answer.status == 415
    assert answer.body == b"415 unsupported media type, supported: [application/json, application/x-protobuf]"


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_o13_answers_are_of_the_type_of_the_request(tower: Tower, small: Tower, overloaded: Tower, way: Way) -> None:
    """On success and on every error."""
    body = new_request()
    answers = [
        way.send(tower, body),
        way.send(tower, NO_REQUEST),
        way.send(tower, body, authorization=None),
        way.send(tower, body, "/v1/nothing"),
        way.send(small, new_request(100)),
        way.send(overloaded, body),
    ]

    assert [answer.status for answer in answers] == [200, 400, 401, 404, 413, 503]
    assert {answer.headers["content-type"] for answer in answers} == {way.media_type}


@pytest.mark.parametrize("coding", [None, "identity", "gzip", "GZIP", "deflate"])
@pytest.mark.parametrize("media_type", [PROTOBUF, JSON])
def test_o14_codings_that_are_read(tower: Tower, media_type: str, coding: str | None) -> None:
    """None, identity, gzip and deflate, for both types."""
    packers: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "deflate": zlib.compress}
    pack = packers.get((coding or "").lower(), bytes)
    body = new_request(3)
    plain = body if media_type == PROTOBUF else WAYS["json"]._written(body)
    stored = stored_by(tower, lambda: tower.send(pack(plain), content_type=media_type, content_encoding=coding))

    assert spans_of(stored) == spans_of([body])


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip", "x" * 1_000])
def test_o15_another_coding_is_refused_by_name(tower: Tower, coding: str) -> None:
    """400 with a Status that names it."""
    answer = tower.send(new_request(), content_encoding=coding)

    assert answer.status == 400
    assert answer.refusal.message == f"unsupported Content-Encoding: {coding[:60]}"


@pytest.mark.parametrize("compression", list(Compression))
def test_o15_the_python_exporter_may_compress_as_it_likes(tower: Tower, compression: Compression) -> None:
    """Whatever it can be set to is read."""
    with exporting(tower, tower.token, compression=compression) as exporter:
        assert exporter.export(some_spans().get_finished_spans()) is SpanExportResult.SUCCESS


def test_o16_answers_are_not_compressed(tower: Tower) -> None:
    """Nobody needs that: an answer is empty or one sentence."""
    answer = tower.send(new_request(), accept_encoding="gzip")

    assert "content-encoding" not in answer.headers


def broken() -> Iterator[tuple[str, str, bytes]]:
    whole, deflated = gzip.compress(new_request(), mtime=0), zlib.compress(new_request())
    for coding, packed, sum_bytes in (("gzip", whole, 8), ("deflate", deflated, 4)):
        yield coding, "nothing", b""
        yield coding, "text", b"not packed"
        yield coding, "cut short", packed[:-4]
        yield coding, "wrong checksum", packed[:-sum_bytes] + bytes(sum_bytes)
        yield coding, "more behind it", packed + (b"behind" if coding == "gzip" else packed)
    yield "gzip", "the other format", deflated
    yield "deflate", "the other format", whole


@pytest.mark.parametrize(
    ("coding", "body"),
    [pytest.param(coding, body, id=f"{coding}-{what}") for coding, what, body in broken()],
)
def test_o17_broken_compression_is_refused_as_a_whole(tower: Tower, coding: str, body: bytes) -> None:
    """Cut short, wrong checksum, trailing bytes or the other format: 400, and nothing of it is stored."""
    before = tower.stored_bodies("traces")

    assert tower.send(body, content_encoding=coding).status == 400
    assert tower.stored_bodies("traces") == before


def test_o17_gzip_of_several_members_is_read_whole(tower: Tower) -> None:
    """All members count, as RFC 1952 says."""
    body = new_request(2)
    parts = gzip.compress(body[:20]) + gzip.compress(body[20:])

    assert stored_by(tower, lambda: tower.send(parts, content_encoding="gzip")) == [body]


# 3. Size limits


def sized(size: int) -> bytes:
    """Return a request of exactly *size* bytes, in one span that is within the limits of a record."""
    body = request_of(*[new_span() for _ in range(size // 100 - 5)])
    padding = size - len(body)
    unknown = b"\xc2\x3e" + varint(padding - 2 - len(varint(padding - 4)))
    return body + unknown + b"x" * (padding - len(unknown))


@pytest.mark.parametrize(("size", "status"), [(SMALL_BYTES - 1, 200), (SMALL_BYTES, 200), (SMALL_BYTES + 1, 413)])
@pytest.mark.parametrize("coding", ["identity", "gzip", "deflate"])
def test_o18_the_limit_is_on_the_decompressed_size(small: Tower, coding: str, size: int, status: int) -> None:
    """Exactly the limit is taken, one byte more is not, compressed or not."""
    body = sized(size)
    answer = Way(PROTOBUF, coding).send(small, body)

    assert (len(body), answer.status) == (size, status)


def test_o19_too_large_is_413(small: Tower) -> None:
    """Not 400 as in the OpenTelemetry Collector; the message names the limit."""
    answer = small.send(sized(SMALL_BYTES + 1))

    assert answer.status == 413
    assert str(SMALL_BYTES) in answer.refusal.message


def raw(tower: Tower, head: str, body: bytes = b"") -> bytes:
    """Send bytes as they are, and return all that comes back until the connection ends."""
    with socket.create_connection((tower.host, tower.port), timeout=PATIENCE_S) as connection:
        lines = f"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: {PROTOBUF}\r\n{head}\r\n"
        connection.sendall(lines.encode() + body)
        return connection.makefile("rb").read()


def test_o20_a_length_above_the_limit_is_refused_unread(tower: Tower) -> None:
    """The answer is there before the first byte of the body, and the connection ends."""
    answer = raw(tower, f"Authorization: Bearer {tower.token}\r\nContent-Length: {1 << 40}\r\n")

    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in answer.lower()


def test_o20_without_a_length_the_limit_is_the_same(small: Tower) -> None:
    """Chunked transfer, which announces nothing."""
    at_limit, above = sized(SMALL_BYTES), sized(SMALL_BYTES + 1)

    assert small.send(iter([at_limit[:100], at_limit[100:]])).status == 200
    assert small.send(iter([above[:100], above[100:]])).status == 413


def test_o20_a_false_length_stores_nothing(tower: Tower) -> None:
    """A body that ends early is none."""
    before = tower.stored_bodies("traces")
    with socket.create_connection((tower.host, tower.port), timeout=PATIENCE_S) as connection:
        head = f"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: {PROTOBUF}\r\nContent-Length: 1000\r\n"
        connection.sendall(f"{head}Authorization: Bearer {tower.token}\r\n\r\n".encode() + new_request())
    last = new_request()
    tower.send(last)

    assert tower.stored_bodies("traces") == [*before, last]


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_o21_a_bomb_is_stopped_while_it_grows(tower: Tower, coding: str) -> None:
    """64 MiB out of 64 kB are refused after the first few, and hold no room after it."""
    pack = zlib.compressobj(wbits=31 if coding == "gzip" else 15)
    bomb = pack.compress(bytes(64 << 20)) + pack.flush()
    answer = tower.send(bomb, content_encoding=coding)

    assert answer.status == 413
    assert "times its compressed size" in answer.refusal.message
    assert tower.send(new_request()).status == 200


def test_o22_the_ratio_counts_above_the_floor(tower: Tower) -> None:
    """5 MiB out of 20 KiB is a bomb; 3 MiB out of 10 KiB is taken."""
    padding = b"\xc2\x3e" + varint(3 << 20) + bytes(3 << 20)

    assert len(gzip.compress(padding)) < 10 * 1024
    assert tower.send_gzip(new_request() + padding).status == 200
    assert tower.send_gzip(bytes(5 << 20)).status == 413


def nested(message: bytes, *numbers: int) -> bytes:
    """Return *message* inside the fields *numbers*, the innermost first."""
    for number in numbers:
        message = varint(number << 3 | 2) + varint(len(message)) + message
    return message


BOMBS = {
    "spans": nested(b"\x12\x00" * 200_000, 2, 1),
    "resources": b"\x0a\x00" * 5_000_000,
    "unknown fields": b"\x10\x00" * 5_000_000,
    "attributes": nested(b"\x4a\x00" * 5_000_000, 2, 2, 1),
    "events": nested(b"\x5a\x00" * 5_000_000, 2, 2, 1),
    "links": nested(b"\x6a\x00" * 5_000_000, 2, 2, 1),
    "attributes of an event": nested(b"\x1a\x00" * 5_000_000, 11, 2, 2, 1),
    "attributes of a resource": nested(b"\x0a\x00" * 5_000_000, 1, 1),
    "values": nested(b"\x0a\x00" * 5_000_000, 5, 2, 9, 2, 2, 1),
    "unknown fields of a span": nested(b"\xf8\x01\x00" * 5_000_000, 2, 2, 1),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_o23_items_are_counted_before_parsing(tower: Tower, bomb: str) -> None:
    """Millions of empty things, which would cost gigabytes and minutes, are refused unparsed; the limit is named."""
    answer = tower.send(BOMBS[bomb])

    assert answer.status == 413
    assert "100000 spans" in answer.refusal.message


def test_o24_an_answer_is_short(tower: Tower) -> None:
    """100,000 rejected spans are one sentence."""
    answer = tower.send(request_of(*[span(1, trace_id=b"")] * 100_000))

    assert answer.response.partial_success.rejected_spans == 100_000
    assert len(answer.body) < 2_048


def test_o25_grpc_has_the_same_limit() -> None:
    """That messages over it are RESOURCE_EXHAUSTED is tested with gRPC, O87."""
    options = dict(grpc_options(replace(SETTINGS, body_bytes=123_456)))

    assert options["grpc.max_receive_message_length"] == 123_456


def test_o26_the_operating_defaults_are_documented() -> None:
    """64 MiB and 100,000 items in a request."""
    documented = (Path(__file__).parents[2] / "docs" / "operate.md").read_text(encoding="utf-8")

    assert (Settings().body_bytes, Settings().items) == (64 << 20, 100_000)
    assert "COLLECTOR_BODY_BYTES` | 67108864" in documented
    assert "COLLECTOR_ITEMS` | 100000" in documented


# 4. Success and partial success


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("signal", BODIES)
def test_o27_full_success_says_nothing(tower: Tower, way: Way, signal: str) -> None:
    """200 with the signal's response, and nothing set in it."""
    answer = way.send(tower, b"", f"/v1/{signal}")

    assert (answer.status, answer.body) == (200, b"{}" if way.media_type == JSON else b"")


def test_o28_full_success_in_json_is_an_empty_object(tower: Tower) -> None:
    """No partialSuccess, not even an empty one."""
    assert WAYS["json"].send(tower, new_request()).body == b"{}"


EMPTY = [
    b"",
    ExportTraceServiceRequest(resource_spans=[ResourceSpans()]).SerializeToString(),
    ExportTraceServiceRequest(resource_spans=[ResourceSpans(scope_spans=[ScopeSpans()])]).SerializeToString(),
    request_of(),
]


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("body", EMPTY)
def test_o29_an_empty_request_is_a_success(tower: Tower, way: Way, body: bytes) -> None:
    """Nothing to store is not an error, and makes no record."""
    assert stored_by(tower, lambda: way.send(tower, body)) == []


def test_o30_200_comes_after_the_disk(tmp_path: Path) -> None:
    """While the disk has not confirmed there is no byte of an answer."""
    reached, go_on = threading.Event(), threading.Event()

    class Slow(BrokenDisk):
        def sync(self, descriptor: int) -> None:
            reached.set()
            assert go_on.wait(PATIENCE_S)
            super().sync(descriptor)

    with running(tmp_path, disk=Slow()) as slow, ThreadPoolExecutor(1) as pool:
        answer = pool.submit(slow.send, new_request())
        assert reached.wait(PATIENCE_S)
        waiting = not answer.done()
        go_on.set()

        assert waiting
        assert answer.result(PATIENCE_S).status == 200


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_o31_success_is_200(tower: Tower, way: Way) -> None:
    """Never 202 or 204: neither is in the specification. A body sent again is a success, too."""
    body = new_request()

    assert [way.send(tower, body).status for _ in range(3)] == [200] * 3


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_o32_the_body_of_a_200_is_the_response_message(tower: Tower, way: Way) -> None:
    """It can be read as that, whatever the request was."""
    for body in (b"", new_request(), request_of(new_span(), span(1, span_id=b""))):
        assert way.response(way.send(tower, body)).keys() <= {"partialSuccess"}


INVALID = [
    {"trace_id": b""},
    {"trace_id": bytes(16)},
    {"trace_id": bytes(range(15))},
    {"trace_id": bytes(range(17))},
    {"span_id": b""},
    {"span_id": bytes(8)},
    {"span_id": bytes(range(7))},
]


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("invalid", INVALID)
def test_o33_rejected_items_are_counted(tower: Tower, way: Way, invalid: dict[str, bytes]) -> None:
    """What was accepted and what was rejected is what was sent."""
    good, bad = [new_span(), new_span()], new_span(**invalid)
    answer, stored = sent(tower, lambda: way.send(tower, request_of(good[0], bad, good[1], bad)))

    assert spans_of(stored) == good
    assert way.response(answer)["partialSuccess"]["rejectedSpans"] == "2"


def test_o34_the_reason_is_a_sentence_without_values(tower: Tower) -> None:
    """It says what to change, in English, and nothing of what was sent."""
    bad = new_span(name="Zebulon", trace_id=b"secret")
    words = tower.send(request_of(bad)).response.partial_success.error_message

    assert words == ("1 spans were rejected: a trace id must be 16 bytes and a span id 8 bytes, neither all zero.")


def test_o35_a_warning_rejects_nothing(tower: Tower) -> None:
    """Everything was accepted, and there is something to say."""
    partial = WAYS["json"].response(WAYS["json"].send(tower, request_of(new_span(name="n" * 2_000))))["partialSuccess"]

    assert partial == {"errorMessage": "1 records were cut to the limits of attributes, events, links and lengths."}


def test_o36_the_exporter_does_not_send_a_partial_success_again(tmp_path: Path) -> None:
    """One request, and what was accepted is stored once."""
    spans = [*some_spans().get_finished_spans(), ReadableSpan("none", context=SpanContext(0, 0, is_remote=False))]
    with running(tmp_path) as own, exporting(own, own.token) as exporter:
        outcome = exporter.export(spans)

        assert outcome is SpanExportResult.SUCCESS
        assert own.stored_spans() == ["one"]
        assert own.metrics.snapshot()["requests_accepted"] == 1
        assert own.metrics.snapshot()["items_rejected"] == 1


def test_o37_nothing_but_invalid_items_is_a_partial_success(tower: Tower) -> None:
    """200 with all of them rejected; nothing is stored."""
    body = request_of(new_span(trace_id=b""), new_span(span_id=b""))
    answer, stored = sent(tower, lambda: tower.send(body))

    assert stored == []
    assert answer.response.partial_success.rejected_spans == 2


# 5. Errors


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_o38_every_error_is_a_status(tower: Tower, small: Tower, overloaded: Tower, way: Way) -> None:
    """In the encoding of the request, also those that the framework makes."""
    body = new_request()
    answers = [
        way.send(tower, NO_REQUEST),
        way.send(tower, body, authorization="Bearer wrong"),
        way.send(tower, body, "/v1/nothing"),
        tower.send(b"", method="PUT", content_type=way.media_type),
        way.send(small, new_request(100)),
        way.send(overloaded, body),
    ]

    assert [way.status(answer)[0] for answer in answers] == [
        "INVALID_ARGUMENT",
        "UNAUTHENTICATED",
        "NOT_FOUND",
        "UNIMPLEMENTED",
        "RESOURCE_EXHAUSTED",
        "UNAVAILABLE",
    ]
    assert all(way.status(answer)[1] for answer in answers)


def test_o39_a_400_has_a_bad_request_in_its_details(tower: Tower) -> None:
    """Protobuf says that it is the body, JSON names the field."""
    detail = BadRequest()
    assert tower.send(NO_REQUEST).refusal.details[0].Unpack(detail)
    written = send_json(tower, b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"kind":"x"}]}]}]}').json

    assert detail.field_violations[0].field == "body"
    assert written["details"][0]["fieldViolations"][0]["field"] == "resourceSpans[0].scopeSpans[0].spans[0].kind"


@pytest.mark.parametrize("signal", BODIES)
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_o40_what_cannot_be_decoded_is_400(tower: Tower, way: Way, signal: str) -> None:
    """For good: no client sends it again."""
    answers = [way.send(tower, NO_REQUEST, f"/v1/{signal}") for _ in range(2)]

    assert [answer.status for answer in answers] == [400, 400]
    assert "retry-after" not in answers[0].headers


def test_o40_one_encoding_sent_as_the_other_is_400(tower: Tower) -> None:
    """JSON as protobuf, protobuf as JSON, and a request that lost its end."""
    body = new_request()

    assert tower.send(b'{"resourceSpans":[]}').status == 400
    assert send_json(tower, body).status == 400
    assert {tower.send(body[:-cut]).status for cut in (1, 5, 20)} == {400}


@pytest.mark.parametrize(("path", "token", "status"), [("/v1/traces", "wrong", 401), ("/v1/nothing", "", 404)])
def test_o41_the_exporter_gives_up_on_what_is_final(tower: Tower, path: str, token: str, status: int) -> None:
    """One attempt; the counterpart, a 503 that is tried again, is in ``test_exporter``."""
    before = tower.metrics.snapshot()["requests_refused"]
    with exporting(tower, token or tower.token, path) as exporter:
        assert exporter.export(some_spans().get_finished_spans()) is SpanExportResult.FAILURE
    after = tower.metrics.snapshot()["requests_refused"]

    assert isinstance(before, int)
    assert after == before + (status == 401)  # what the framework refuses is not counted


@pytest.mark.parametrize(("call", "error"), [("write", errno.ENOSPC), ("sync", errno.EIO), ("create", errno.EMFILE)])
def test_o42_trouble_of_ours_is_503(tmp_path: Path, call: str, error: int) -> None:
    """Nothing is acknowledged that is not on the disk; when the disk works again, so does everything."""
    disk, body = BrokenDisk(), new_request()
    with running(tmp_path, disk=disk) as own:
        disk.fails[call] = error
        refused = own.send(body)
        disk.fails.clear()
        again = own.send(body)

        assert (refused.status, refused.headers["retry-after"]) == (503, "2")
        assert again.status == 200
        assert own.stored_bodies("traces") == [body]


def test_o43_a_decoder_that_fails_is_400_and_the_body_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever mends it finds the bytes in quarantine; neither answer nor reason quotes them."""

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("Zebulon")

    body = new_request()
    with running(tmp_path) as own:
        monkeypatch.setattr(intake, "admit", fail)
        answer = own.send(body)
        monkeypatch.undo()
        (kept,) = (own.journal.folder / "quarantine").glob("*.raw")
        reason = json.loads(next((own.journal.folder / "quarantine").glob("*.reason.json")).read_text(encoding="utf-8"))

        assert answer.status == 400
        assert kept.read_bytes() == body
        assert "RuntimeError in test_conformance.py" in json.dumps(reason)
        assert b"Zebulon" not in answer.body
        assert "Zebulon" not in json.dumps(reason)


def test_o43_a_failure_after_the_decoding_is_503(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client comes back, and then it works."""

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no")

    body = new_request()
    with running(tmp_path) as own:
        monkeypatch.setattr(intake, "digest_of", fail)
        refused = own.send(body)
        monkeypatch.undo()

        assert (refused.status, refused.headers["retry-after"]) == (503, "2")
        assert stored_by(own, lambda: own.send(body)) == [body]


def test_o44_errors_tell_no_secrets(tower: Tower, small: Tower, overloaded: Tower) -> None:
    """No stack trace, path, statement or token."""
    answers = [
        tower.send(NO_REQUEST),
        send_json(tower, b'{"resourceSpans":"Zebulon"}'),
        tower.send(b"", content_encoding="x"),
        tower.send(b"", authorization="Bearer zzz"),
        tower.send(b"", "/nothing"),
        small.send(new_request(100)),
        overloaded.send(new_request()),
    ]

    for answer in answers:
        assert not re.search(rb"Traceback|File \"|\.py|/tmp|SELECT|zzz|Zebulon", answer.body)
        assert tower.token.encode() not in answer.body
        assert str(tower.journal.folder).encode() not in answer.body


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer wrong", "Basic abc", "wrong"])
def test_o45_without_a_known_token_it_is_401(tower: Tower, authorization: str | None) -> None:
    """It says which scheme is expected."""
    answer = tower.send(new_request(), authorization=authorization)

    assert answer.status == 401
    assert answer.headers["www-authenticate"] == 'Bearer realm="controltower"'
    assert "Authorization: Bearer" in answer.refusal.message


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_o46_an_error_that_cannot_be_written_is_told_in_fixed_words(
    tower: Tower, way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    """500 and JSON, as in the OpenTelemetry Collector: the one place where it is answered."""

    def unwritable(_: object) -> object:
        return object()

    monkeypatch.setattr(receive, "status_of", unwritable)
    answer = way.send(tower, NO_REQUEST)

    assert (answer.status, answer.headers["content-type"]) == (500, JSON)
    assert answer.body == b'{"code": 13, "message": "failed to marshal error message"}'


@pytest.mark.parametrize(
    ("refusal", "http", "code"),
    [
        (refusals.bad_request("x"), 400, grpc.StatusCode.INVALID_ARGUMENT),
        (refusals.unauthenticated(), 401, grpc.StatusCode.UNAUTHENTICATED),
        (refusals.forbidden("x"), 403, grpc.StatusCode.PERMISSION_DENIED),
        (refusals.not_found("x"), 404, grpc.StatusCode.UNIMPLEMENTED),
        (refusals.too_large("x"), 413, grpc.StatusCode.RESOURCE_EXHAUSTED),
        (refusals.unavailable("x"), 503, grpc.StatusCode.UNAVAILABLE),
    ],
)
def test_o47_one_refusal_is_told_over_both_transports(
    refusal: refusals.Refusal, http: int, code: grpc.StatusCode
) -> None:
    """The Collector's map, with 413 for what is too large; nothing else is ever refused."""
    assert (refusal.http, ending_of(refusal).code) == (http, code)


def test_o48_a_slow_disk_is_answered_in_time(tmp_path: Path) -> None:
    """A client that hears nothing drops its batch after ten seconds, so it hears 503 before."""
    go_on = threading.Event()

    class Slow(BrokenDisk):
        def sync(self, descriptor: int) -> None:
            assert go_on.wait(PATIENCE_S)
            super().sync(descriptor)

    body = new_request()
    with running(tmp_path, replace(SETTINGS, deadline_s=0.3), disk=Slow()) as slow:
        late = slow.send(body)
        go_on.set()
        slow.journal.rotate()

        assert Settings().deadline_s == 5
        assert (late.status, late.headers["retry-after"]) == (503, "2")
        assert slow.send(body).status == 200
        assert slow.stored_bodies("traces") == [body]


# 6. Back-pressure and retry


def test_o49_the_delay_is_in_seconds(overloaded: Tower) -> None:
    """Not a date, which would need equal clocks."""
    assert overloaded.send(new_request()).headers["retry-after"].isdecimal()


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_o50_overload_is_503(overloaded: Tower, way: Way) -> None:
    """Older exporters for Python drop on 429."""
    assert way.send(overloaded, new_request()).status == 503


def test_o51_retry_after_is_two_seconds(overloaded: Tower, tmp_path: Path) -> None:
    """A whole number, the same for every reason: stock clients keep trying longest with it."""
    with running(tmp_path, replace(SETTINGS, journal_bytes=1_000)) as full:
        answers = [full.send(new_request()) for _ in range(20)]
        refused = [answer for answer in answers if answer.status != 200]

        assert len(full.stored_bodies("traces")) == 20 - len(refused)
    assert {answer.status for answer in refused} == {503}
    assert {answer.headers["retry-after"] for answer in (*refused, overloaded.send(new_request()))} == {"2"}


def test_o52_the_exporter_comes_back_after_the_delay(overloaded: Tower) -> None:
    """In three seconds it tries twice; in its ten it tries five times, longer than with any other delay."""
    before = overloaded.metrics.snapshot()["requests_refused"]
    with exporting(overloaded, overloaded.token, timeout=3) as exporter:
        outcome = exporter.export(some_spans().get_finished_spans())
    after = overloaded.metrics.snapshot()["requests_refused"]

    assert outcome is SpanExportResult.FAILURE
    assert isinstance(before, int)
    assert after == before + 2


@pytest.mark.parametrize("signal", BODIES)
def test_o53_a_body_sent_again_is_stored_once(tmp_path: Path, signal: str) -> None:
    """A client that saw no answer sends the same bytes again, also compressed differently; each is acknowledged."""
    body, path = BODIES[signal], f"/v1/{signal}"
    with running(tmp_path) as own:
        packed = gzip.compress(body, 1)
        answers = [own.send(body, path), own.send(body, path), own.send(packed, path, content_encoding="gzip")]

        assert [answer.status for answer in answers] == [200] * 3
        assert own.stored_bodies(signal) == [body]
        assert own.metrics.snapshot()["requests_duplicate"] == 2


def test_o54_a_collector_that_starts_again_takes_at_once(tmp_path: Path) -> None:
    """On the same port and journal, and recognises what it stored before."""
    body = new_request()
    with running(tmp_path) as first:
        assert first.send(body).status == 200
    with running(tmp_path, replace(SETTINGS, port=first.port)) as second:
        assert second.send(body).status == 200
        assert second.stored_bodies("traces") == [body]


def test_o55_what_does_not_fit_is_refused_before_it_is_read(tmp_path: Path) -> None:
    """Bytes in flight are bounded: the room of a body that is being read is not there for others, and comes back."""
    body = sized(4_000)
    with running(tmp_path, replace(SETTINGS, in_flight_bytes=6_000)) as own, ExitStack() as stack:
        first = stack.enter_context(socket.create_connection((own.host, own.port), timeout=PATIENCE_S))
        auth = f"Authorization: Bearer {own.token}\r\n"
        head = f"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: {PROTOBUF}\r\n{auth}"
        first.sendall(f"{head}Content-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n".encode())
        assert first.recv(100).startswith(b"HTTP/1.1 100 ")  # it is admitted, and its body is waited for
        refused = raw(own, f"{auth}Connection: close\r\nContent-Length: {len(body)}\r\n")
        small = own.send(new_request())
        first.sendall(body)
        done = first.recv(100)
        after = own.send(sized(4_100))

    assert refused.startswith(b"HTTP/1.1 503 ")
    assert (small.status, after.status) == (200, 200)
    assert done.startswith(b"HTTP/1.1 200 ")


def test_o55_compressed_bodies_are_counted_as_what_they_become(tmp_path: Path) -> None:
    """What is small on the wire does not get past the limit of memory."""
    with running(tmp_path, replace(SETTINGS, in_flight_bytes=100_000)) as own:
        answer = own.send_gzip(sized(200_000))

        assert answer.status == 503
        assert own.send_gzip(sized(20_000)).status == 200


def test_o55_memory_has_a_ceiling(tmp_path: Path) -> None:
    """A process that takes more memory than it may takes no more bodies."""
    with running(tmp_path, replace(SETTINGS, memory_bytes=1)) as own:
        answer = own.send(new_request())

    assert answer.status == 503
    assert "memory" in answer.refusal.message


def test_o56_parallel_requests_do_not_meet(tower: Tower) -> None:
    """Hundreds of compressed requests over kept connections: every span arrives once, under its own request."""
    before = len(tower.stored_bodies("traces"))
    headers = {"Content-Type": PROTOBUF, "Authorization": f"Bearer {tower.token}", "Content-Encoding": "gzip"}

    def send(client: int) -> list[int]:
        connection = http.client.HTTPConnection(tower.host, tower.port, timeout=PATIENCE_S)
        statuses = []
        for number in range(client * 20, client * 20 + 20):
            spans = [span(10**9 + number * 10 + each, name=f"request {number}") for each in range(5)]
            connection.request("POST", "/v1/traces", gzip.compress(request_of(*spans)), headers)
            response = connection.getresponse()
            response.read()
            statuses.append(response.status)
        connection.close()
        return statuses

    with ThreadPoolExecutor(20) as pool:
        statuses = [status for client in pool.map(send, range(20)) for status in client]
    found = spans_of(tower.stored_bodies("traces")[before:])

    assert statuses == [200] * 400
    assert len(found) == 2_000
    assert all(each.name == f"request {(int.from_bytes(each.span_id, 'big') - 10**9) // 10}" for each in found)


# 10. Authentication, CORS, connections


def test_o101_the_token_is_looked_at_before_the_body(tower: Tower) -> None:
    """A gigabyte that nobody may send is not waited for: 401 is there before its first byte."""
    answer = raw(tower, f"Content-Length: {1 << 30}\r\n")

    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"connection: close" in answer.lower()


def test_o102_a_token_in_the_address_does_not_count(tower: Tower) -> None:
    """Addresses end up in logs."""
    path = f"/v1/traces?access_token={tower.token}&token={tower.token}&authorization=Bearer%20{tower.token}"

    assert tower.send(new_request(), path, authorization=None).status == 401


def test_o103_pages_of_others_may_not_send(tower: Tower) -> None:
    """CORS is off: a preflight is any other method, and no answer names an origin."""
    headers = {"origin": "https://elsewhere.example", "access_control_request_method": "POST"}
    preflight = tower.send(b"", "/v1/traces", "OPTIONS", content_type=None, **headers)
    answers = [preflight, tower.send(new_request(), origin="https://elsewhere.example")]

    assert preflight.status == 405
    assert not [name for answer in answers for name in answer.headers if name.startswith("access-control-")]


def test_o104_a_body_that_does_not_come_is_not_waited_for(tmp_path: Path) -> None:
    """A slow body does not hold its place for ever; other timeouts are in ``test_connections``."""
    with running(tmp_path, replace(SETTINGS, body_timeout_s=0.05)) as own:
        answer = raw(
            own, f"Authorization: Bearer {own.token}\r\nConnection: close\r\nContent-Length: 1000\r\n", b"\x0a"
        )

    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: 2" in answer.lower()


def test_o105_the_tenant_is_kept_with_the_record(tmp_path: Path) -> None:
    """It is that of the token; a body that carries the journal's own fields cannot speak for another."""
    forged = request_of(span(1)) + b"\x92\xe2\x09\x05other" + b"\x89\xe2\x09" + bytes(8)
    with running(tmp_path) as own:
        own.send(forged)
        own.journal.rotate()
        ((request, tenant),) = own.stored_with_tenants()

    assert tenant == "acme"
    assert request.SerializeToString() == request_of(span(1))


# 13. The matrix


def matrix_body(condition: str) -> bytes:
    bodies: dict[str, Any] = {
        "partial": lambda: request_of(new_span(), new_span(trace_id=b"")),
        "empty": lambda: b"",
        "malformed": lambda: NO_REQUEST,
        "oversize": lambda: new_request(100),
    }
    body: bytes = bodies.get(condition, new_request)()
    return body


CONDITIONS = {
    "full": (200, "OK"),
    "partial": (200, "OK"),
    "empty": (200, "OK"),
    "malformed": (400, "INVALID_ARGUMENT"),
    "oversize": (413, "RESOURCE_EXHAUSTED"),
    "overload": (503, "UNAVAILABLE"),
    "unauthenticated": (401, "UNAUTHENTICATED"),
    "store down": (200, "OK"),
}


@pytest.fixture(scope="module")
def storeless(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tower]:
    """A collector whose store is away."""
    with running(tmp_path_factory.mktemp("storeless"), store_problem=lambda: "Connection refused.") as started:
        yield started


@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_matrix(tower: Tower, small: Tower, overloaded: Tower, storeless: Tower, way: Way, condition: str) -> None:
    """Each condition has its one answer, in whatever way the request comes."""
    target = {"oversize": small, "overload": overloaded, "store down": storeless}.get(condition, tower)
    wrong = {"authorization": "Bearer wrong"} if condition == "unauthenticated" else {}
    answer = way.send(target, matrix_body(condition), **wrong)
    status, code = CONDITIONS[condition]

    assert answer.status == status
    assert ("retry-after" in answer.headers) == (status == 503)
    if status == 200:
        assert ("partialSuccess" in way.response(answer)) == (condition == "partial")
    else:
        assert way.status(answer)[0] == code
