"""Sending: the same bytes until they are acknowledged, never dropped, and taken apart when one span is refused for good."""

import gc
import resource
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from controltower.cli.bench.receiver import receiver
from controltower.collector.scrapers.delivery import Collector, Delivery, StoppedError, pause_s
from tests.collector.requests import Tower, request_of, span
from tests.collector.scrapers.answering import Answer, Answering, answering

BODY = request_of(*map(span, range(1, 9)))
OK: Answer = (200, {}, b"")


class Pauses(list[float]):
    """Pauses that were asked for; they take no time, and the last one that is allowed says stop."""

    def __init__(self, most: int = 100) -> None:
        super().__init__()
        self._most = most

    def __call__(self, seconds: float) -> bool:
        """Note a pause and return whether to stop."""
        self.append(seconds)
        return len(self) >= self._most


@contextmanager
def sending(decide: Callable[[int, bytes], Answer], most: int = 100) -> Iterator[tuple[Delivery, Answering, Pauses]]:
    """Give what sends to a server that answers by *decide*."""
    pauses = Pauses(most)
    with answering(decide) as server:
        delivery = Delivery(Collector(server.url, "secret"), "app", pause=pauses)
        try:
            yield delivery, server, pauses
        finally:
            delivery.close()


def numbers(body: bytes) -> list[int]:
    """Return which spans a request holds."""
    request = ExportTraceServiceRequest.FromString(body)
    return [int.from_bytes(each.span_id, "big") for each in request.resource_spans[0].scope_spans[0].spans]


def test_a_collector_takes_it_once(tower: Tower) -> None:
    """A real one: the same bytes sent again are acknowledged, and stored once."""
    delivery = Delivery(Collector(tower.url, tower.token), "app")

    assert delivery.send(BODY) == []
    assert delivery.send(BODY) == []
    delivery.close()
    assert len(tower.stored()) == 1


@pytest.mark.parametrize("status", [401, 403, 404, 408, 429, 500, 502, 503, 307])
def test_sent_again_until_it_is_taken(status: int) -> None:
    """Whatever may pass is waited for; the bytes stay the same, and pauses grow within their bound."""
    with sending(lambda number, _: OK if number == 12 else (status, {}, b"")) as (delivery, server, pauses):
        assert delivery.send(BODY) == []

    assert set(server.bodies) == {BODY}
    assert len(pauses) == 12
    assert all(0 < pause <= 30 for pause in pauses)
    assert pauses[6] > pauses[0]
    assert delivery.failing == ""


def test_the_token_is_sent_and_never_told() -> None:
    """It is in the header, and in no words about the sender."""
    with sending(lambda *_: (401, {}, b""), most=1) as (delivery, server, _), pytest.raises(StoppedError):
        delivery.send(BODY)

    assert server.headers[0]["Authorization"] == "Bearer secret"
    assert "token" in delivery.failing
    assert "secret" not in delivery.failing + repr(Collector("http://x", "secret"))


@pytest.mark.parametrize(("after", "expected"), [("2", 2.0), ("100000", 30.0), ("Fri, 01 Jan 2100 00:00:00 GMT", 30.0)])
def test_the_collector_says_when(after: str, expected: float) -> None:
    """Its own pause is kept, up to our longest."""
    with sending(lambda number, _: (503, {"Retry-After": after}, b"") if not number else OK) as (delivery, _, pauses):
        delivery.send(BODY)

    assert pauses == [expected]


@pytest.mark.parametrize("after", ["soon", "-1", "Fri, 99 Jan 2100"])
def test_a_pause_that_is_none(after: str) -> None:
    """What cannot be understood is as if it was not there."""
    with sending(lambda number, _: (503, {"Retry-After": after}, b"") if not number else OK) as (delivery, _, pauses):
        delivery.send(BODY)

    assert 0 < pauses[0] <= 0.5


def test_nobody_is_there() -> None:
    """A collector that is away is waited for, and stopping ends that."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    delivery = Delivery(Collector(f"http://127.0.0.1:{port}"), "app", pause=Pauses(3))

    with pytest.raises(StoppedError):
        delivery.send(BODY)
    delivery.close()
    assert "does not answer" in delivery.failing


@pytest.mark.parametrize("bad", [[3], [1, 8], list(range(1, 9))])
def test_one_bad_span_takes_no_other_with_it(bad: list[int]) -> None:
    """A request that is refused for good is halved until only what is refused is left out, and that is told."""

    def decide(_: int, body: bytes) -> Answer:
        return (400, {}, b"") if set(bad) & set(numbers(body)) else OK

    with sending(decide) as (delivery, server, pauses):
        refused = delivery.send(BODY)

    taken = [number for body in server.bodies if not set(bad) & set(numbers(body)) for number in numbers(body)]
    assert sorted(taken + bad) == list(range(1, 9))
    assert sum(each.spans for each in refused) == len(bad)
    assert "400" in refused[0].reason
    assert pauses == []


def test_what_is_refused_in_part_is_told() -> None:
    """Partial success says how many spans the collector will never take."""
    partial = ExportTraceServiceResponse()
    partial.partial_success.rejected_spans = 2
    partial.partial_success.error_message = "no trace id"
    with sending(lambda *_: (200, {}, partial.SerializeToString())) as (delivery, _, _pauses):
        (refused,) = delivery.send(BODY)

    assert (refused.spans, refused.reason) == (2, "no trace id")


@pytest.mark.parametrize("suffix", ["", "/", "/v1/traces", "/v1/traces/"])
def test_the_address_with_or_without_its_path(suffix: str) -> None:
    """As with the SDK, the path of the signal may stand there."""
    with answering(lambda *_: OK) as server:
        delivery = Delivery(Collector(server.url + suffix), "app")
        delivery.send(BODY)
        delivery.close()

    assert server.paths == ["/v1/traces"]


def test_an_answer_without_an_end() -> None:
    """What answers a megabyte is not read to its end; its status counts."""
    with sending(lambda *_: (200, {}, b"x" * 1024 * 1024)) as (delivery, _, _pauses):
        assert delivery.send(BODY) == []


def test_pauses_grow_up_to_a_bound() -> None:
    """The first is short, and none is longer than half a minute."""
    assert 0 < pause_s(1) <= 0.5
    assert 15 <= pause_s(1_000_000) <= 30


def test_what_was_sent_is_let_go_of() -> None:
    """Memory does not grow by what was sent, however seldom the interpreter looks for cycles."""
    body = b"x" * 8 * 1024 * 1024
    with receiver() as url:
        delivery = Delivery(Collector(url), "app")
        gc.disable()
        try:
            delivery.send(bytes(body))
            before = resident_bytes()
            for number in range(20):
                delivery.send(b"%d" % number + body)
            grown = resident_bytes() - before
        finally:
            gc.enable()
            delivery.close()

    assert grown < 6 * len(body)


def resident_bytes() -> int:
    """Return the memory that this process has now."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()
