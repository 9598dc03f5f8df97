"""What is answered to requests over a real socket, and what of them is in the journal."""

import errno
import gzip
import random
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from google.rpc.error_details_pb2 import BadRequest  # type: ignore[import-untyped]  # generated, without a marker
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from controltower.collector.settings import Settings
from tests.collector.requests import PATIENCE_S, PROTOBUF, Tower, request_of, running, span
from tests.tracer.journals import BrokenDisk

SETTINGS = Settings(port=0)


@pytest.mark.parametrize("path", ["/v1/traces", "/v1/traces/"])
def test_a_request_is_stored_and_answered_with_an_empty_response(tower: Tower, path: str) -> None:
    """200, no partial success, with and without the trailing slash, and never a redirect."""
    answer = tower.send(request_of(span(1), span(2)), path)

    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["content-type"] == PROTOBUF
    assert tower.stored_spans() == ["span 1", "span 2"]


def test_it_is_stored_byte_for_byte(tower: Tower) -> None:
    """What nothing is wrong with is not touched, unknown fields included."""
    body = request_of(span(1)) + b"\xfa\x70\x03abc"
    tower.send(body)

    assert tower.stored()[0].SerializeToString() == body


@pytest.mark.parametrize("media_type", [PROTOBUF, "Application/X-Protobuf", "application/x-protobuf; charset=utf-8"])
def test_parameters_and_case_of_the_type_do_not_count(tower: Tower, media_type: str) -> None:
    """Media types are compared as RFC 9110 says, and the answer has the plain type."""
    answer = tower.send(request_of(span(1)), content_type=media_type)

    assert answer.status == 200
    assert answer.headers["content-type"] == PROTOBUF


@pytest.mark.parametrize("media_type", [None, "", "text/plain", "application/protobuf"])
def test_another_type_is_refused(tower: Tower, media_type: str | None) -> None:
    """415 names what is supported, in the words of the OpenTelemetry Collector."""
    answer = tower.send(request_of(span(1)), content_type=media_type)

    assert answer.status == 415
    assert answer.body == b"415 unsupported media type, supported: [application/json, application/x-protobuf]"


@pytest.mark.parametrize("size", [1, 3_000])
def test_gzip_is_read(tower: Tower, size: int) -> None:
    """A compressed request is the same request, small (on the event loop) and large (in a thread)."""
    answer = tower.send_gzip(request_of(*map(span, range(1, size + 1))))

    assert answer.status == 200
    assert len(tower.stored_spans()) == size


def test_gzip_of_several_members_is_read_whole(tower: Tower) -> None:
    """All members count, as RFC 1952 says."""
    body = request_of(span(1), span(2))
    answer = tower.send(gzip.compress(body[:20]) + gzip.compress(body[20:]), content_encoding="gzip")

    assert answer.status == 200
    assert tower.stored_spans() == ["span 1", "span 2"]


def broken_gzip() -> Iterator[bytes]:
    whole = gzip.compress(request_of(span(1)))
    yield b""
    yield b"not gzip at all"
    yield whole[:-4]
    yield whole[:-8] + bytes(8)
    yield whole + b"trailing"


@pytest.mark.parametrize("body", [*broken_gzip()])
def test_broken_gzip_is_refused_as_a_whole(tower: Tower, body: bytes) -> None:
    """Cut short, wrong checksum or trailing bytes: 400, and nothing of it is stored."""
    assert tower.send(body, content_encoding="gzip").status == 400
    assert tower.stored() == []


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip"])
def test_another_coding_is_refused_by_name(tower: Tower, coding: str) -> None:
    """400 with a Status that names the coding."""
    answer = tower.send(request_of(span(1)), content_encoding=coding)

    assert answer.status == 400
    assert answer.refusal.message == f"unsupported Content-Encoding: {coding}"


@pytest.mark.parametrize(
    "body", [b"garbage", b"\x0a\xff", request_of(span(1))[:-1], b"{}", random.Random(1).randbytes(10_000)]
)
def test_garbage_is_refused_for_good(tower: Tower, body: bytes) -> None:
    """400, which no client tries again, with a BadRequest that says what is wrong."""
    answer = tower.send(body)
    detail = BadRequest()

    assert answer.status == 400
    assert "not a valid OTLP traces request" in answer.refusal.message
    assert answer.refusal.details[0].Unpack(detail)
    assert detail.field_violations[0].field == "body"
    assert tower.stored() == []


@pytest.mark.parametrize(
    "body", [b"", ExportTraceServiceRequest().SerializeToString(), b"\x0a\x00", b"\x0a\x02\x12\x00"]
)
def test_an_empty_request_is_a_success(tower: Tower, body: bytes) -> None:
    """Nothing to store is not an error, and makes no record."""
    answer = tower.send(body)

    assert (answer.status, answer.body) == (200, b"")
    assert tower.journal.stats().bytes == 0


@pytest.mark.parametrize(
    "bad",
    [
        span(9, trace_id=b""),
        span(9, trace_id=bytes(16)),
        span(9, trace_id=bytes(range(15))),
        span(9, trace_id=bytes(range(17))),
        span(9, span_id=b""),
        span(9, span_id=bytes(8)),
        span(9, span_id=bytes(range(7))),
    ],
)
def test_spans_without_identity_are_left_out_and_counted(tower: Tower, bad: object) -> None:
    """The rest is stored; the sender learns how many and why."""
    answer = tower.send(request_of(span(1), bad, span(2), bad))  # type: ignore[arg-type]  # parametrize has no types
    partial = answer.response.partial_success

    assert answer.status == 200
    assert partial.rejected_spans == 2
    assert partial.error_message.startswith("2 spans were rejected: a trace id must be 16 bytes")
    assert tower.stored_spans() == ["span 1", "span 2"]


def test_a_request_of_nothing_but_bad_spans_is_a_partial_success(tower: Tower) -> None:
    """One code path: 200 with all of them rejected, and nothing is stored."""
    answer = tower.send(request_of(*[span(1, trace_id=b"")] * 100_000))

    assert answer.response.partial_success.rejected_spans == 100_000
    assert len(answer.body) < 2_048
    assert tower.stored() == []


def test_one_invalid_byte_does_not_lose_the_request(tower: Tower) -> None:
    """Text that is no UTF-8 is stored as it came; the load shows it with replacement characters."""
    body = request_of(span(1), span(2)).replace(b"span 2", b"sp\xffn 2")

    assert tower.send(body).status == 200
    tower.journal.rotate()
    assert b"sp\xffn 2" in tower.journal.closed_segments()[0].path.read_bytes()


def test_the_tenant_is_that_of_the_token(tower: Tower) -> None:
    """A body that carries the journal's own fields cannot speak for another tenant."""
    forged = request_of(span(1)) + b"\x92\xe2\x09\x05other" + b"\x89\xe2\x09" + bytes(8)
    tower.send(forged)
    tower.journal.rotate()

    ((request, tenant),) = tower.stored_with_tenants()
    assert tenant == "acme"
    assert request.SerializeToString() == request_of(span(1))


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer wrong", "Basic abc", "wrong"])
def test_a_missing_or_wrong_token_is_refused(tower: Tower, authorization: str | None) -> None:
    """401 says which scheme is expected."""
    answer = tower.send(request_of(span(1)), authorization=authorization)

    assert answer.status == 401
    assert answer.headers["www-authenticate"] == 'Bearer realm="controltower"'
    assert "Authorization: Bearer" in answer.refusal.message
    assert tower.stored() == []


def test_a_token_in_the_address_does_not_count(tower: Tower) -> None:
    """Addresses end up in logs."""
    path = f"/v1/traces?access_token={tower.token}&token={tower.token}"

    assert tower.send(request_of(span(1)), path, authorization=None).status == 401


def test_a_wrong_token_is_refused_before_the_body_is_read(tower: Tower) -> None:
    """A gigabyte that nobody may send is not waited for."""
    with socket.create_connection((tower.host, tower.port), timeout=PATIENCE_S) as connection:
        head = f"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: {PROTOBUF}\r\nContent-Length: {1 << 30}\r\n\r\n"
        connection.sendall(head.encode())
        answer = connection.makefile("rb").read()

    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"connection: close" in answer.lower()


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS", "HEAD", "PATCH"])
def test_other_methods_are_refused(tower: Tower, method: str) -> None:
    """405 names the method that is allowed."""
    answer = tower.send(path="/v1/traces", method=method, content_type=None)

    assert answer.status == 405
    assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize("path", ["/", "/v1/trace", "/v1development/profiles", "/docs", "/openapi.json"])
def test_unknown_paths_are_refused_with_a_status(tower: Tower, path: str) -> None:
    """404, in the encoding of the request."""
    answer = tower.send(request_of(span(1)), path)

    assert answer.status == 404
    assert answer.refusal.message == "There is nothing at this path."


def test_the_limit_is_on_the_decompressed_size(tmp_path: Path) -> None:
    """Exactly the limit is taken, one byte more is refused for good, compressed or not."""
    body = request_of(*map(span, range(1, 50)))
    with running(tmp_path, replace(SETTINGS, body_bytes=len(body))) as tower:
        assert tower.send(body).status == 200
        assert tower.send_gzip(body).status == 200
    with running(tmp_path, replace(SETTINGS, body_bytes=len(body) - 1)) as tower:
        declared, unpacked = tower.send(body), tower.send_gzip(body)
        chunked = tower.send(iter([body[:100], body[100:]]))

    for answer in (declared, unpacked, chunked):
        assert answer.status == 413
        assert str(len(body) - 1) in answer.refusal.message


def test_a_gzip_bomb_is_stopped(tower: Tower) -> None:
    """A gigabyte of zeros out of one megabyte is refused after the first few of them."""
    answer = tower.send_gzip(bytes(1 << 28))

    assert answer.status == 413
    assert "times its compressed size" in answer.refusal.message


@pytest.mark.parametrize("bomb", ["spans", "groups", "unknown fields"])
def test_too_much_is_refused_before_parsing(tower: Tower, bomb: str) -> None:
    """Millions of empty things, which would cost gigabytes and minutes, are counted and refused; the limit is named."""
    spans = b"\x12\x00" * 200_000
    scope = b"\x12" + varint(len(spans)) + spans
    body = {
        "spans": b"\x0a" + varint(len(scope)) + scope,
        "groups": b"\x0a\x00" * 1_100_000,
        "unknown fields": b"\x10\x00" * 1_100_000,
    }[bomb]
    answer = tower.send(body)

    assert answer.status == 413
    assert "100000 spans" in answer.refusal.message


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def test_a_body_sent_again_is_acknowledged_and_stored_once(tower: Tower) -> None:
    """A client that saw no answer sends the same bytes again, also compressed differently."""
    body = request_of(span(1))
    answers = [tower.send(body), tower.send(body), tower.send_gzip(body)]

    assert [answer.status for answer in answers] == [200, 200, 200]
    assert tower.stored_spans() == ["span 1"]
    assert tower.metrics.snapshot()["requests_duplicate"] == 2


def test_a_partial_success_sent_again_has_the_same_answer(tower: Tower) -> None:
    """What was left out is left out again, and what was stored is stored once."""
    body = request_of(span(1), span(2, trace_id=b""))

    assert tower.send(body).body == tower.send(body).body
    assert tower.stored_spans() == ["span 1"]


def test_a_connection_that_ends_early_stores_nothing(tower: Tower) -> None:
    """Half a body is no request."""
    with socket.create_connection((tower.host, tower.port), timeout=PATIENCE_S) as connection:
        head = f"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: {PROTOBUF}\r\nContent-Length: 1000\r\n"
        connection.sendall(f"{head}Authorization: Bearer {tower.token}\r\n\r\n".encode() + b"\x0a")
    assert tower.send(request_of(span(2))).status == 200

    assert tower.stored_spans() == ["span 2"]


def test_a_client_that_does_not_send_its_body_is_told_to_come_back(tmp_path: Path) -> None:
    """A slow body does not hold its place for ever."""
    with (
        running(tmp_path, replace(SETTINGS, body_timeout_s=0.05)) as tower,
        socket.create_connection((tower.host, tower.port), timeout=PATIENCE_S) as connection,
    ):
        head = f"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: {PROTOBUF}\r\nContent-Length: 1000\r\n"
        connection.sendall(f"{head}Authorization: Bearer {tower.token}\r\n\r\n".encode() + b"\x0a")
        answer = connection.recv(4096)

    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: 2" in answer.lower()


def test_a_full_journal_tells_clients_to_come_back(tmp_path: Path) -> None:
    """503 with Retry-After: 2, which keeps stock clients trying longest; what was taken stays."""
    with running(tmp_path, replace(SETTINGS, journal_bytes=1_000)) as tower:
        answers = [tower.send(request_of(span(number))) for number in range(1, 20)]
        kept = len(tower.stored_spans())

    assert answers[0].status == 200
    assert answers[-1].status == 503
    assert answers[-1].headers["retry-after"] == "2"
    assert "budget" in answers[-1].refusal.message
    assert kept == [answer.status for answer in answers].count(200)


@pytest.mark.parametrize(("call", "error"), [("write", errno.ENOSPC), ("sync", errno.EIO), ("create", errno.EMFILE)])
def test_a_failing_disk_tells_clients_to_come_back(tmp_path: Path, call: str, error: int) -> None:
    """Nothing is acknowledged that is not on the disk; when the disk works again, so does everything."""
    disk = BrokenDisk()
    with running(tmp_path, disk=disk) as tower:
        disk.fails[call] = error
        refused = tower.send(request_of(span(1)))
        disk.fails.clear()
        again = tower.send(request_of(span(1)))

        assert refused.status == 503
        assert refused.headers["retry-after"] == "2"
        assert again.status == 200
        assert tower.stored_spans() == ["span 1"]


def test_a_slow_disk_is_answered_in_time(tmp_path: Path) -> None:
    """A client that hears nothing drops its batch after ten seconds, so it hears 503 before."""
    go_on = threading.Event()

    class Slow(BrokenDisk):
        def sync(self, descriptor: int) -> None:
            assert go_on.wait(PATIENCE_S)
            super().sync(descriptor)

    with running(tmp_path, replace(SETTINGS, deadline_s=0.5), disk=Slow()) as tower:
        late = tower.send(request_of(span(1)))
        go_on.set()
        tower.journal.rotate()
        again = tower.send(request_of(span(1)))

        assert late.status == 503
        assert again.status == 200
        assert tower.stored_spans() == ["span 1"]


def test_too_many_bodies_at_once_are_told_to_come_back(tmp_path: Path) -> None:
    """Memory has a ceiling: beyond it a body is refused before it is read."""
    with running(tmp_path, replace(SETTINGS, in_flight_bytes=1_000)) as tower:
        small, large = tower.send(request_of(span(1))), tower.send(request_of(*map(span, range(1, 100))))

    assert small.status == 200
    assert large.status == 503
    assert "same time" in large.refusal.message


def test_refusals_hold_no_secret(tower: Tower) -> None:
    """Neither the token nor a path of this machine is in an answer."""
    answers = [
        tower.send(b"garbage"),
        tower.send(b"", content_encoding="x"),
        tower.send(b"", authorization="Bearer zzz"),
    ]

    for answer in answers:
        assert tower.token.encode() not in answer.body
        assert b"zzz" not in answer.body
        assert str(tower.journal.folder).encode() not in answer.body
