"""OTLP/gRPC, number by number of the conformance list, over real sockets with real channels."""

import errno
import gzip
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest  # type: ignore[import-untyped]  # generated, without a marker
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.sdk.trace.export import SpanExportResult

from controltower.collector.settings import Settings
from tests.collector.calls import EXPORTS, Caller, Code, calling, ended
from tests.collector.requests import PATIENCE_S, Tower, request_of, running, span
from tests.collector.test_exporter import some_spans
from tests.collector.test_signals import EVERY_KIND, logs_of
from tests.tracer.journals import BrokenDisk

MIB = 1024 * 1024
BODIES = {"traces": request_of(span(1)), "logs": logs_of(LogRecord(severity_text="INFO")), "metrics": EVERY_KIND}


@pytest.fixture
def tower(tmp_path: Path) -> Iterator[Tower]:
    """A collector that takes gRPC, with default limits."""
    with running(tmp_path, grpc=True) as started:
        yield started


@pytest.fixture
def caller(tower: Tower) -> Iterator[Caller]:
    """A channel to the collector."""
    with calling(tower) as opened:
        yield opened


class HeldDisk(BrokenDisk):
    """A disk that confirms nothing until it is let go; ``reached`` tells that somebody waits."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = threading.Event()
        self.let_go = threading.Event()

    def sync(self, descriptor: int) -> None:
        self.reached.set()
        assert self.let_go.wait(PATIENCE_S)
        super().sync(descriptor)


def refusals(tower: Tower) -> object:
    """Return the refused calls by reason."""
    return tower.metrics.snapshot()["refusals"]


@pytest.mark.parametrize("signal", BODIES)
def test_o85_each_signal_has_its_service(signal: str, tower: Tower, caller: Caller) -> None:
    """Export of every service is answered, and its message is in the journal of its signal, byte for byte."""
    assert caller.call(BODIES[signal], signal).code is Code.OK
    assert tower.stored_bodies(signal) == [BODIES[signal]]


def test_o85_parallel_calls_do_not_meet(tower: Tower) -> None:
    """A hundred calls at the same time over four channels, some compressed: every span arrives once, unmixed."""

    def send(number: int) -> Code:
        with calling(tower) as own:
            compression = grpc.Compression.Gzip if number % 2 else None
            return own.call(request_of(span(number + 1)), compression=compression).code

    with ThreadPoolExecutor(25) as pool:
        codes = list(pool.map(send, range(100)))

    assert codes == [Code.OK] * 100
    assert sorted(tower.stored_spans()) == sorted(f"span {number + 1}" for number in range(100))


@pytest.mark.parametrize("signal", BODIES)
@pytest.mark.parametrize(
    "compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip, grpc.Compression.Deflate]
)
def test_o86_none_gzip_and_deflate(compression: grpc.Compression, signal: str, tower: Tower, caller: Caller) -> None:
    """A message may be compressed or not; what is stored is the same."""
    many = {"traces": request_of(*map(span, range(1, 200))), "logs": logs_of(*[LogRecord()] * 200)}
    body = many.get(signal, EVERY_KIND * 50)

    assert caller.call(body, signal, compression=compression).code is Code.OK
    assert tower.stored_bodies(signal) == [body]


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_o87_the_receive_limit_is_that_of_bodies(compression: grpc.Compression, tmp_path: Path) -> None:
    """At the limit a message is taken; one byte more is RESOURCE_EXHAUSTED without a delay, compressed or not."""
    body = request_of(*map(span, range(1, 2_000)))
    with running(tmp_path, Settings(port=0, body_bytes=len(body)), grpc=True) as tower, calling(tower) as caller:
        longer = request_of(*map(span, range(1, 2_000)), span(9, name="."))
        over = caller.call(longer, compression=compression)

        assert caller.call(body, compression=compression).code is Code.OK
        assert over.code is Code.RESOURCE_EXHAUSTED
        assert over.retries_after_s is None
        assert tower.stored_bodies("traces") == [body]


def test_o87_a_response_is_short(caller: Caller) -> None:
    """Whatever was rejected, the response is nowhere near 4 MiB."""
    ended_ = caller.call(request_of(*[span(1, trace_id=b"")] * 20_000))

    assert ended_.code is Code.OK
    assert len(ended_.body) < 2_048


def test_o88_success_leaves_partial_success_unset(caller: Caller) -> None:
    """All taken: OK and an empty response; nothing to take: the same."""
    assert [(caller.call(body).code, caller.call(body).body) for body in (BODIES["traces"], b"")] == [
        (Code.OK, b"")
    ] * 2


def test_o88_partial_success_counts_what_was_left_out(tower: Tower, caller: Caller) -> None:
    """Some rejected: OK, their exact number, and words without a value of theirs; the others are stored."""
    outcome = caller.call(request_of(span(1), span(2, trace_id=b"short"), span(3, span_id=b"")))
    partial = ExportTraceServiceResponse.FromString(outcome.body).partial_success

    assert outcome.code is Code.OK
    assert partial.rejected_spans == 2
    assert partial.error_message
    assert "short" not in partial.error_message
    assert tower.stored_spans() == ["span 1"]


def test_o89_o90_o95_trouble_here_is_unavailable_with_a_delay_in_both_places(tmp_path: Path) -> None:
    """A disk that fails: UNAVAILABLE, two seconds in the details and in the metadata that Python reads."""
    disk = BrokenDisk()
    with running(tmp_path, grpc=True, disk=disk) as tower, calling(tower) as caller:
        disk.fails["sync"] = errno.EIO
        outcome = caller.call(BODIES["traces"])

        assert outcome.code is Code.UNAVAILABLE
        assert outcome.status.code == Code.UNAVAILABLE.value[0]
        assert outcome.status.message == outcome.words
        assert outcome.detail.retry_delay.seconds == 2
        assert outcome.retries_after_s == 2
        assert refusals(tower) == {"journal_failed": 1}


@pytest.mark.parametrize("body", [b"\xff\xff\xffgarbage", b"\x0a\x7f", b"plain text", b"\x1f\x8bno gzip"])
def test_o91_what_cannot_be_read_is_an_invalid_argument(body: bytes, tower: Tower, caller: Caller) -> None:
    """INVALID_ARGUMENT with a BadRequest that says what is wrong, and no delay."""
    outcome = caller.call(body)

    assert outcome.code is Code.INVALID_ARGUMENT
    assert isinstance(outcome.detail, BadRequest)
    assert outcome.detail.field_violations[0].description
    assert outcome.retries_after_s is None
    assert refusals(tower) == {"malformed": 1}


def exporting(tower: Tower, token: str) -> OTLPSpanExporter:
    """Return the stock exporter, set up as its documentation says."""
    return OTLPSpanExporter(tower.grpc, insecure=True, headers={"authorization": f"Bearer {token}"})


def test_o92_the_exporter_tries_again_after_unavailable(tmp_path: Path) -> None:
    """A disk that fails once costs no span: the OpenTelemetry exporter comes back after two seconds."""

    class FailsOnce(BrokenDisk):
        def sync(self, descriptor: int) -> None:
            failing = not self.synced
            self.synced.append(descriptor)
            if failing:
                raise OSError(errno.EIO, "Input/output error")
            super().sync(descriptor)

    with running(tmp_path, grpc=True, disk=FailsOnce()) as tower:
        exporter = exporting(tower, tower.token)
        outcome = exporter.export(some_spans().get_finished_spans())
        exporter.shutdown()

        assert outcome is SpanExportResult.SUCCESS
        assert tower.stored_spans() == ["one"]
        assert refusals(tower) == {"journal_failed": 1}


def test_o92_the_exporter_gives_up_on_a_wrong_token(tower: Tower) -> None:
    """UNAUTHENTICATED is not tried again."""
    exporter = exporting(tower, "wrong")
    outcome = exporter.export(some_spans().get_finished_spans())
    exporter.shutdown()

    assert outcome is SpanExportResult.FAILURE
    assert refusals(tower) == {"unauthenticated": 1}


def test_o92_the_exporter_does_not_resend_what_was_taken(tower: Tower) -> None:
    """OK is the end of it."""
    exporter = exporting(tower, tower.token)
    outcome = exporter.export(some_spans().get_finished_spans())
    exporter.shutdown()

    assert outcome is SpanExportResult.SUCCESS
    assert tower.metrics.snapshot()["requests_accepted"] == 1


@pytest.mark.parametrize(
    ("stage", "code"),
    [
        ("controltower.collector.intake.admit", Code.INVALID_ARGUMENT),
        ("controltower.collector.intake.envelope", Code.UNAVAILABLE),
        ("controltower.collector.grpc._authorization", Code.UNAVAILABLE),
    ],
)
def test_o93_no_mistake_of_ours_is_unknown(
    stage: str, code: Code, tower: Tower, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exception while decoding is INVALID_ARGUMENT and any other UNAVAILABLE: UNKNOWN would lose the batch."""

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(stage, broken)
    outcome = caller.call(BODIES["traces"])

    assert outcome.code is code
    assert "secret" not in outcome.words
    assert tower.stored_bodies("traces") == []


def test_o94_an_oversize_batch_that_comes_again_costs_nothing_to_refuse(tmp_path: Path) -> None:
    """The exporter sends it a few times all the same: each is refused by the length before it, none of it is read."""
    with running(tmp_path, Settings(port=0, body_bytes=100), grpc=True) as tower:
        exporter = exporting(tower, tower.token)
        outcome = exporter.export(some_spans().get_finished_spans())
        exporter.shutdown()

        snapshot = tower.metrics.snapshot()
        assert outcome is SpanExportResult.FAILURE
        assert snapshot["body_bytes"] == 0
        assert snapshot["requests_accepted"] == 0
        assert tower.stored_bodies("traces") == []


def test_o96_the_guards_stand_in_front_of_the_parser(tmp_path: Path) -> None:
    """Too many items are RESOURCE_EXHAUSTED without a delay; a text that is no UTF-8 costs no neighbour."""
    broken = request_of(span(1), span(2)).replace(b"span 2", b"span \xff")
    with running(tmp_path, Settings(port=0, items=100), grpc=True) as tower, calling(tower) as caller:
        many = caller.call(request_of(*map(span, range(1, 102))))

        assert (many.code, many.retries_after_s) == (Code.RESOURCE_EXHAUSTED, None)
        assert "100" in many.words
        assert caller.call(broken).code is Code.OK
        assert len(tower.stored_bodies("traces")) == 1


def test_o96_a_bomb_is_refused_by_its_ratio(tower: Tower, caller: Caller) -> None:
    """A message that grows more than a hundredfold is not decompressed to its end."""
    bomb = gzip.compress(bytes(32 * MIB), mtime=0)
    outcome = caller.call(bomb)

    assert (outcome.code, outcome.retries_after_s) == (Code.RESOURCE_EXHAUSTED, None)
    assert refusals(tower) == {"too_large": 1}


@pytest.mark.parametrize("token", ["", "wrong"])
def test_o97_the_sender_is_known_before_the_message_is_read(token: str, caller: Caller) -> None:
    """A call without a known token ends UNAUTHENTICATED although its message never comes."""
    never = threading.Event()

    def no_message() -> Iterator[bytes]:
        never.wait(PATIENCE_S)
        yield from ()

    method = caller.channel.stream_unary(EXPORTS["traces"])
    with pytest.raises(grpc.RpcError) as raised:
        method(no_message(), timeout=PATIENCE_S, metadata=caller.metadata(token))
    never.set()

    assert ended(raised.value).code is Code.UNAUTHENTICATED


def test_o98_stopping_finishes_what_is_under_way(tmp_path: Path) -> None:
    """A call that waits for the disk is answered, one whose message does not come is told to come back later."""
    disk = HeldDisk()
    done = threading.Event()
    with running(tmp_path, Settings(port=0, stop_s=1), grpc=True, disk=disk) as tower, calling(tower) as caller:

        def late_message() -> Iterator[bytes]:
            done.wait(PATIENCE_S)
            yield from ()

        method = caller.channel.stream_unary(EXPORTS["traces"])
        with ThreadPoolExecutor(2) as pool:
            waiting = pool.submit(caller.call, BODIES["traces"])
            assert disk.reached.wait(PATIENCE_S)
            silent = method.future(late_message(), metadata=caller.metadata())
            tower.server.should_exit = True
            with calling(tower) as another:
                until_refused(another)
            disk.let_go.set()
            outcome = waiting.result(PATIENCE_S)
        with pytest.raises(grpc.RpcError) as raised:
            silent.result(PATIENCE_S)
        done.set()
        tower.thread.join(PATIENCE_S)

        assert outcome.code is Code.OK
        assert ended(raised.value).code in {Code.UNAVAILABLE, Code.CANCELLED}
        assert tower.stored_bodies("traces") == [BODIES["traces"]]


def until_refused(caller: Caller) -> None:
    """Wait until new calls are not taken."""
    while caller.call(b"").code is Code.OK:
        pass


@pytest.mark.parametrize(
    "path",
    [
        "/opentelemetry.proto.collector.trace.v1.TraceService/Import",
        "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export",
        "/grpc.health.v1.Health/Check",
    ],
)
def test_o99_what_is_not_there_is_unimplemented(path: str, caller: Caller) -> None:
    """No other method or service is answered."""
    assert caller.call(b"", path=path).code is Code.UNIMPLEMENTED


def test_o100_what_was_journalled_when_the_client_gave_up_stays(tmp_path: Path) -> None:
    """A client that gave up sends again, and its spans are stored once."""
    disk = HeldDisk()
    with running(tmp_path, grpc=True, disk=disk) as tower, calling(tower) as caller:
        first = caller.channel.unary_unary(EXPORTS["traces"]).future(BODIES["traces"], metadata=caller.metadata())
        assert disk.reached.wait(PATIENCE_S)
        first.cancel()
        disk.let_go.set()
        second = caller.call(BODIES["traces"])

        assert second.code is Code.OK
        assert tower.stored_bodies("traces") == [BODIES["traces"]]


def test_o100_the_deadline_of_the_client_is_that_of_the_call(tmp_path: Path) -> None:
    """A disk that takes longer than the client waits: whoever notices first, the call ends with a code for trying again."""
    disk = HeldDisk()
    with running(tmp_path, grpc=True, disk=disk) as tower, calling(tower) as caller:
        outcome = caller.call(BODIES["traces"], timeout=0.05)
        disk.let_go.set()

        assert outcome.code in {Code.DEADLINE_EXCEEDED, Code.UNAVAILABLE}


# 13. The matrix


def matrix_body(condition: str) -> bytes:
    """Return the message of a condition."""
    bodies = {
        "partial": request_of(span(1), span(2, trace_id=b"")),
        "empty": b"",
        "malformed": b"\x0a\x7fno request" * 50,
        "oversize": request_of(*map(span, range(1, 2_000))),
    }
    return bodies.get(condition, request_of(*map(span, range(1, 50))))


CONDITIONS = {
    "full": Code.OK,
    "partial": Code.OK,
    "empty": Code.OK,
    "malformed": Code.INVALID_ARGUMENT,
    "oversize": Code.RESOURCE_EXHAUSTED,
    "overload": Code.UNAVAILABLE,
    "unauthenticated": Code.UNAUTHENTICATED,
    "store down": Code.OK,
}
TARGETS: dict[str, dict[str, Any]] = {
    "oversize": {"settings": Settings(port=0, body_bytes=50_000)},
    "overload": {"settings": Settings(port=0, in_flight_bytes=1)},
    "store down": {"store_problem": lambda: "Connection refused."},
}


@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_matrix(compression: grpc.Compression, condition: str, tmp_path: Path) -> None:
    """Each condition has its one answer, compressed or not, and says when to come back only where that can help."""
    token = "wrong" if condition == "unauthenticated" else None
    with running(tmp_path, grpc=True, **TARGETS.get(condition, {})) as tower, calling(tower) as caller:
        outcome = caller.call(matrix_body(condition), token=token, compression=compression)

        assert outcome.code is CONDITIONS[condition]
        assert outcome.retries_after_s == (2 if outcome.code is Code.UNAVAILABLE else None)
        assert bool(outcome.body) is (condition == "partial")
        if outcome.code is not Code.OK and "grpc-status-details-bin" in outcome.metadata:
            assert outcome.status.code == outcome.code.value[0]
