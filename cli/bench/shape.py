"""What the spans of the bench look like: requests, calls and queries of a service, some of them business steps.

Attributes, their number and their sizes are those of OpenTelemetry's instrumentations and of our SDK: some twelve on a
span, a dozen on the resource; three spans of eight carry business keys, and one of these the lines of a document.
"""

from collections.abc import Iterator, Mapping
from random import Random
from typing import Final

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from controltower.tracer.attributes import (
    AMOUNT,
    CONTEXT,
    CURRENCY,
    INTERFACE,
    ITEM,
    KEY,
    LINE,
    LINE_EVENT,
    LINE_QUANTITY,
    OUTCOME,
    STEP,
    STYLE,
    UNIT_PRICE,
)

SPANS_PER_TRACE: Final = 8
SERVICES: Final = ("erp", "edi-gateway", "warehouse", "accounts-payable")
SCOPE: Final = InstrumentationScope(name="controltower.tracer", version="0.1.0")

Values = Mapping[str, str | int]

_STEPS: Final = (
    ("p2p.purchase_order.created", "purchase_order"),
    ("p2p.purchase_order.dispatched", "purchase_order"),
    ("p2p.invoice.received", "invoice"),
)
_STEP_POSITIONS: Final = (0, 3, 5)  # of a trace of eight


def resource_of(service: str, randomness: Random) -> Resource:
    """Return the resource of *service* as an SDK and its detectors describe it."""
    host = f"ip-10-0-{randomness.randrange(256)}-{randomness.randrange(256)}"
    return Resource(
        attributes=_attributes(
            {
                "service.name": service,
                "service.version": "2026.11.2",
                "service.namespace": "supply-chain",
                "service.instance.id": f"{randomness.getrandbits(128):032x}",
                "deployment.environment.name": "production",
                "telemetry.sdk.language": "python",
                "telemetry.sdk.name": "opentelemetry",
                "telemetry.sdk.version": "1.45.2",
                "host.name": host,
                "os.type": "linux",
                "process.pid": randomness.randrange(100, 40_000),
                "process.runtime.version": "3.11.7",
            }
        )
    )


def span_of(position: int, randomness: Random, batch: str) -> Span:
    """Return the span at *position* of a trace, without ids and times; *batch* makes its documents' numbers unique."""
    kind, name, values = _work(position, randomness, batch)
    span = Span(name=name, kind=kind, attributes=_attributes({**values, **_SHARED, **_code(position, randomness)}))
    if position in _STEP_POSITIONS:
        _make_step(span, _STEP_POSITIONS.index(position), randomness, batch)
    if randomness.random() < 0.02:
        span.status.CopyFrom(Status(code=Status.STATUS_CODE_ERROR, message="upstream timed out after 5 s"))
    return span


_SHARED: Final[Values] = {"thread.name": "worker-4", "thread.id": 140_231_415_883_520}


def _code(position: int, randomness: Random) -> Values:
    return {
        "code.function.name": f"hospital.orders.handlers.handle_{position}",
        "code.line.number": randomness.randrange(10, 900),
    }


def _work(position: int, randomness: Random, batch: str) -> tuple[Span.SpanKind.ValueType, str, Values]:
    number = f"{batch}{randomness.randrange(10_000):04}"
    if position % 4 == 0:
        return Span.SPAN_KIND_SERVER, "POST /api/orders/{id}", _http(f"/api/orders/{number}", randomness)
    if position % 4 == 1:
        return Span.SPAN_KIND_CLIENT, "SELECT orders", _query(randomness)
    if position % 4 == 2:
        return Span.SPAN_KIND_PRODUCER, "publish orders", _message(number, randomness)
    return Span.SPAN_KIND_INTERNAL, "validate order", _checks(number, randomness)


def _http(path: str, randomness: Random) -> Values:
    return {
        "http.request.method": "POST",
        "http.route": "/api/orders/{id}",
        "http.response.status_code": randomness.choice((200, 200, 201, 404)),
        "url.path": path,
        "url.scheme": "https",
        "server.address": "erp.hospital.internal",
        "server.port": 8443,
        "client.address": f"10.1.{randomness.randrange(256)}.{randomness.randrange(256)}",
    }


def _query(randomness: Random) -> Values:
    return {
        "db.system.name": "postgresql",
        "db.namespace": "orders",
        "db.operation.name": "SELECT",
        "db.query.text": "WITH o AS (SELECT * FROM orders WHERE number = $1) SELECT id, vendor, total FROM o",
        "db.response.returned_rows": randomness.randrange(200),
        "server.address": "db-1.hospital.internal",
        "server.port": 5432,
        "network.peer.address": "10.0.7.11",
    }


def _message(number: str, randomness: Random) -> Values:
    return {
        "messaging.system": "rabbitmq",
        "messaging.operation.type": "send",
        "messaging.destination.name": "orders.created",
        "messaging.message.id": number,
        "messaging.message.body.size": randomness.randrange(200, 20_000),
        "messaging.rabbitmq.destination.routing_key": "orders",
        "server.address": "mq.hospital.internal",
        "network.protocol.name": "amqp",
    }


def _checks(number: str, randomness: Random) -> Values:
    return {
        "order.number": number,
        "order.lines": randomness.randrange(1, 60),
        "rules.version": "2026-11-01",
        "rules.checked": 14,
        "rules.failed": randomness.choice((0, 0, 0, 1)),
        "cache.hit": randomness.choice(("true", "false")),
        "tenant.facility": f"facility-{randomness.randrange(40)}",
        "user.role": "buyer",
    }


def _make_step(span: Span, which: int, randomness: Random, batch: str) -> None:
    """Add what our SDK puts on a business step."""
    step, key = _STEPS[which]
    document = f"{batch}{randomness.randrange(10_000):04}"
    keys = {KEY + "purchase_order": f"PO-{document}"}
    if key != "purchase_order":
        keys[KEY + key] = f"INV-{document}"
    span.attributes.extend(
        _attributes(
            {
                STEP: step,
                **keys,
                CONTEXT + "vendor": f"V-{randomness.randrange(1000, 1400)}",
                AMOUNT: f"{randomness.randrange(1_000_000) / 100:.2f}",
                CURRENCY: "USD",
                OUTCOME: "ok",
                STYLE: "api",
                INTERFACE: "orders",
            }
        )
    )
    if which == 0:
        span.events.extend(_lines(randomness))


def _lines(randomness: Random) -> Iterator[Span.Event]:
    for line in range(1, randomness.randrange(2, 4)):
        item = {LINE: str(line), ITEM: f"0081001{randomness.randrange(10**7):07}"}
        price = {LINE_QUANTITY: str(randomness.randrange(1, 50)), UNIT_PRICE: f"{randomness.randrange(99_999) / 100}"}
        yield Span.Event(name=LINE_EVENT, attributes=_attributes({**item, **price}))


def _attributes(values: Values) -> list[KeyValue]:
    return [
        KeyValue(key=key, value=AnyValue(int_value=value) if isinstance(value, int) else AnyValue(string_value=value))
        for key, value in values.items()
    ]
