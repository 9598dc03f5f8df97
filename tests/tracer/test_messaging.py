"""What all hooks for messages share, without a broker: waits, links, limits, and the host's own OpenTelemetry set-up."""

from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from controltower import tracer
from controltower.tracer import default
from controltower.tracer.integrations.arrival import MAX_HEADER, SENT_AT, Arrival, read_headers
from controltower.tracer.integrations.messaging import MAX_LINKS, Handling, Sending, pulled
from controltower.tracer.integrations.place import Place
from controltower.tracer.testing import FIRST_NS, Captured, capture
from tests.tracer.hooked import attribute, unhooked

PLACE = Place("rabbitmq", "orders", "127.0.0.1")
MS = 1_000_000


@pytest.fixture
def captured() -> Iterator[Captured]:
    """Spans with a clock that steps a millisecond at each reading."""
    with capture() as found:
        yield found


def sent(number: int = 1, **headers: str) -> dict[str, str]:
    """Return the headers of a message from another process."""
    return {"traceparent": f"00-{number:032x}-{number:016x}-01", **headers}


@pytest.mark.parametrize(
    ("told", "broker_ns", "wait"),
    [
        (str(FIRST_NS // MS - 5000), None, 5000),
        (str(FIRST_NS // MS - 5000), FIRST_NS - 7000 * MS, 5000),  # what the sender says stands before the broker
        (None, FIRST_NS - 7000 * MS, 7000),
        (str(FIRST_NS // MS + 3_600_000), None, None),  # the sender's clock is ahead: a wait below zero is none
        ("-1", None, None),
        ("9" * 400, None, None),
        ("٣", None, None),
        ("soon", FIRST_NS - 7000 * MS, 7000),
        (None, None, None),
    ],
)
def test_the_wait(captured: Captured, told: str | None, broker_ns: int | None, wait: int | None) -> None:
    """It is from sent, by the sender or else by the broker, to received; absent when nobody knows or clocks disagree."""
    headers = {} if told is None else {SENT_AT: told}
    with Handling(default.system, object(), Arrival(PLACE, headers, sent_ns=broker_ns)):
        pass

    (span,) = captured.spans
    found = attribute(span, "controltower.message.wait_ms")
    assert found is None if wait is None else isinstance(found, int) and wait <= found < wait + 10


def test_a_batch_beyond_the_limit_of_links_has_more_spans(captured: Captured) -> None:
    """No link is lost: the tracer's limit of one span is where the next span begins."""
    pulled(captured.system, "fetch", [Arrival(PLACE, sent(number)) for number in range(1, MAX_LINKS + 2)], batch=True)

    assert [len(span.links) for span in captured.spans] == [MAX_LINKS, 1]
    assert captured.system.health().cut == 0


def test_keys_of_a_batch_are_those_of_all_messages(captured: Captured) -> None:
    """As far as they are few enough to travel: a payment run must not carry five hundred invoices."""
    few = [
        sent(each, baggage=f"controltower.key.invoice=I-{each},controltower.key.receipt=R-{each % 2}")
        for each in (1, 2)
    ]
    many = [
        sent(each, baggage=f"controltower.key.invoice=I-{each},controltower.key.receipt=R-1") for each in range(1, 22)
    ]
    for headers in (few, many):
        pulled(captured.system, "fetch", [Arrival(PLACE, each) for each in headers], batch=True)

    two, one = captured.spans
    assert attribute(two, "controltower.key.invoice") == ("I-1", "I-2")
    assert attribute(two, "controltower.key.receipt") == ("R-1", "R-0")
    assert attribute(one, "controltower.key.invoice") is None
    assert attribute(one, "controltower.key.receipt") == "R-1"


def test_nothing_was_fetched(captured: Captured) -> None:
    """An empty answer is no span, and neither is anything where the caller asked for none."""
    pulled(captured.system, "fetch", [])
    with unhooked():
        pulled(captured.system, "fetch", [Arrival(PLACE, {})])
        with Handling(default.system, object(), Arrival(PLACE, {})) as sender:
            assert sender is None
        with Sending(captured.system, PLACE, "publish") as sending:
            assert sending.headers([("theirs", 1)]) == [("theirs", 1)]

    assert captured.spans == ()


def test_headers_that_are_read() -> None:
    """Of headers that come twice the last counts, of baggage both; long ones, and those of others, are left out."""
    pairs = [
        ("TraceParent", "a"), (b"traceparent", b"b"), ("baggage", "x=1"), ("Baggage", "y=2"), ("theirs", "z"),
        ("tracestate", "t" * (MAX_HEADER + 1)), ("idempotency-key", 7), (None, "n"), ("nats-msg-id", b"\xff"),
    ]  # fmt: skip

    assert read_headers(pairs) == {"traceparent": "b", "baggage": "x=1,y=2", "nats-msg-id": "�"}


def test_the_hosts_own_provider_may_allow_fewer_links() -> None:
    """Without ``configure`` spans go to the host's set-up; what its limit cuts off is said and counted."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    host = default.HostSystem()
    host.otel_tracer = provider.get_tracer("host")
    former = default.install(host, stop_former=False)
    try:
        pulled(host, "fetch", [Arrival(PLACE, sent(number)) for number in range(1, 151)], batch=True)
        with tracer.keys(purchase_order="PO-1"), Sending(host, PLACE, "publish") as sending:
            headers = dict(sending.headers([]))
    finally:
        default.install(former, stop_former=False)

    received, published = exporter.get_finished_spans()
    assert len(received.links) == 128
    assert attribute(received, "controltower.context.links_truncated") == "true"
    assert host.health().misuse == {"dropped_links": 22}
    assert attribute(published, "controltower.key.purchase_order") == "PO-1"
    assert headers["baggage"] == "controltower.key.purchase_order=PO-1"


def test_a_failure_of_ours_stays_ours() -> None:
    """In production a fault in a hook costs its span and nothing of the host's."""
    system = tracer.System(service="x", mode="production")
    system.guard._reraise = False
    broken = Arrival(None, {})  # type: ignore[arg-type]  # what no hook should let through
    with (
        Handling(lambda: system, object(), broken),
        Sending(system, None, "publish") as sending,  # type: ignore[arg-type]  # the same
    ):
        headers = sending.headers([("theirs", 1)])
    pulled(system, "fetch", [broken])

    assert headers == [("theirs", 1)]
    assert system.health().internal_errors == 3
    system.shutdown()
