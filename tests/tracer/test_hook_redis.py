"""Redis streams against a real Redis: groups, claims, pipelines, blocking and with asyncio."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from controltower import tracer
from controltower.tracer.testing import Captured
from tests.tracer.hooked import (
    GARBAGE,
    PO,
    assert_hop,
    assert_linked,
    attribute,
    broker,
    fresh,
    hooked,
    needs,
    of,
    only,
    relay,
    unhooked,
)

needs("redis")
import redis
from redis import asyncio as redis_asyncio

Client = Any
GROUP = "adapters"


def address() -> dict[str, Any]:
    """Where the server is."""
    host, port = broker("Redis", "REDIS_ADDRESS", 6379)
    return {"host": host, "port": port}


@pytest.fixture
def captured() -> Iterator[Captured]:
    """The spans of a process with the hook."""
    with hooked("redis") as found:
        yield found


@pytest.fixture(params=[2, 3], ids=["resp2", "resp3"])
def client(request: pytest.FixtureRequest) -> Iterator[Client]:
    """A client of each version of the protocol: they give what was read in different shapes."""
    with redis.Redis(**address(), protocol=request.param) as found:
        yield found


@pytest.fixture
def stream(client: Client) -> Iterator[str]:
    """A stream of this test with a group of readers."""
    name = fresh()
    client.xgroup_create(name, GROUP, mkstream=True)
    yield name
    client.delete(name)


def add(client: Client, stream: str, **fields: Any) -> Any:
    """Add one entry below a step."""
    with tracer.step("p2p.purchase_order.dispatched", keys=PO):
        return client.xadd(stream, {"body": "{}", **fields})


def entries_of(answer: Any) -> list[Any]:
    """Return the entries of the one stream that was read, whatever the shape."""
    (found,) = answer.values() if isinstance(answer, dict) else [entries for _, entries in answer]
    return list(found[0] if found and isinstance(found[0], list) else found)


def test_an_entry_is_linked_to_its_sender(captured: Captured, client: Client, stream: str) -> None:
    """What a group reads is linked; the reader sees the fields that the sender gave, and no others."""
    id_ = add(client, stream, **{"idempotency-key": "I-1"})
    (entry,) = entries_of(client.xreadgroup(GROUP, "one", {stream: ">"}))
    with tracer.processing(entry), tracer.step("p2p.purchase_order.acknowledged"):
        client.xack(stream, GROUP, entry[0])

    sent, received = assert_hop(captured, received="receive")
    assert entry == (id_, {b"body": b"{}", b"idempotency-key": b"I-1"})
    for span in (sent, received, only(captured, "process")):
        assert attribute(span, "messaging.destination.name") == stream
        assert attribute(span, "messaging.message.id") == id_.decode()
        assert attribute(span, "server.port") == address()["port"]
    assert attribute(received, "messaging.consumer.group.name") == GROUP
    assert attribute(received, "controltower.message.redelivered") is False
    assert_linked(only(captured, "process"), sent)
    captured.assert_step("p2p.purchase_order.acknowledged", keys={**PO, "idempotency": "I-1"})


def test_entries_that_come_again(captured: Captured, client: Client, stream: str) -> None:
    """What was read and not acknowledged, and what is claimed from another reader, was delivered before."""
    id_ = add(client, stream)
    client.xreadgroup(GROUP, "one", {stream: ">"})
    assert entries_of(client.xreadgroup(GROUP, "one", {stream: "0"})) == [(id_, {b"body": b"{}"})]
    assert client.xclaim(stream, GROUP, "two", 0, [id_]) == [(id_, {b"body": b"{}"})]
    assert client.xautoclaim(stream, GROUP, "three", 0)[1] == [(id_, {b"body": b"{}"})]
    assert client.xautoclaim(stream, GROUP, "three", 0, justid=True) == [id_]

    received = of(captured, "receive")
    assert [attribute(span, "messaging.operation.name") for span in received] == [
        "xreadgroup", "xreadgroup", "xclaim", "xautoclaim",
    ]  # fmt: skip
    assert [attribute(span, "controltower.message.redelivered") for span in received] == [False, True, True, True]
    for span in received:
        assert_linked(span, only(captured, "send"))


def test_a_large_batch(captured: Captured, client: Client, stream: str) -> None:
    """A batch is one span with a link for each entry, beyond OpenTelemetry's 128, and its facts on the links."""
    for _ in range(300):
        add(client, stream)
    client.xread({stream: "0"}, count=300)

    received = only(captured, "receive")
    assert_linked(received, *of(captured, "send"))
    assert attribute(received, "messaging.batch.message_count") == 300
    assert attribute(received, "messaging.message.id") is None
    ids = {(link.attributes or {}).get("messaging.message.id") for link in received.links}
    assert len(ids) == 300
    assert all("controltower.message.wait_ms" in (link.attributes or {}) for link in received.links)
    assert captured.system.health().cut == 0


def test_pipelines(captured: Captured, client: Client, stream: str) -> None:
    """Each entry of a pipeline has its span, which ends with its answer."""
    with client.pipeline() as pipeline:
        pipeline.set(f"{stream}.other", 1).delete(f"{stream}.other")
        add(pipeline, stream)
        add(pipeline, stream)
        answers = pipeline.execute()
    with client.pipeline(transaction=False) as pipeline:
        add(pipeline, stream)
        pipeline.reset()  # nothing is sent, and the places of the others are their own
        add(pipeline, stream)
        pipeline.xadd(stream, {"body": "{}"}, id="0-0")
        refused = pipeline.execute(raise_on_error=False)

    sent = of(captured, "send")
    assert [attribute(span, "messaging.message.id") for span in sent[:2]] == [id_.decode() for id_ in answers[2:]]
    assert isinstance(refused[1], redis.ResponseError)
    assert [attribute(span, "error.type") for span in sent] == [None, None, None, "redis.exceptions.ResponseError"]
    assert len(entries_of(client.xread({stream: "0"}))) == 3


@pytest.mark.parametrize("traceparent", GARBAGE)
def test_fields_of_strangers(captured: Captured, client: Client, stream: str, traceparent: str) -> None:
    """Entries without our fields, or with broken ones, are read as they are, without a link."""
    tracer.uninstrument("redis")
    fields = {"traceparent": traceparent, "baggage": b"\xff=\xfe", "n": 7}
    client.xadd(stream, fields, id="7-1")
    client.xadd(stream, {"n": 8}, id="8-1")
    tracer.instrument("redis")
    entries = entries_of(client.xreadgroup(GROUP, "one", {stream: ">"}))
    for entry in entries:
        with tracer.processing(entry) as sender:
            assert sender is None

    assert [set(fields) for _, fields in entries] == [{b"traceparent", b"baggage", b"n"}, {b"n"}]
    for span in captured.spans:
        assert span.links == ()
        assert attribute(span, "controltower.message.wait_ms") is None  # such ids tell no time


def test_headers_written_by_hand_stay(captured: Captured, client: Client, stream: str) -> None:
    """A sender without the hook, which wrote its headers by hand, is linked, and its fields are not taken out."""
    tracer.uninstrument("redis")
    headers: dict[str, str] = {}
    with tracer.step("p2p.purchase_order.dispatched", keys=PO) as sent:
        tracer.inject(headers)
        client.xadd(stream, headers)
    tracer.instrument("redis")
    (entry,) = entries_of(client.xreadgroup(GROUP, "one", {stream: ">"}))

    assert set(entry[1]) == {b"traceparent", b"baggage"}
    assert only(captured, "receive").links[0].context.span_id == sent.span_context.span_id


def test_refusals_are_the_librarys_own(captured: Captured, client: Client, stream: str) -> None:
    """A call that the library or the server refuses raises what it always does, and the span has its type."""
    with pytest.raises(redis.DataError):
        client.xadd(stream, {})
    client.set(f"{stream}.text", "x", ex=5)
    with pytest.raises(redis.ResponseError):
        client.xadd(f"{stream}.text", {"n": 1})

    assert attribute(only(captured, "send"), "error.type") == "redis.exceptions.ResponseError"


def test_asyncio(captured: Captured) -> None:
    """The client with asyncio is hooked the same way, in pipelines, too."""
    name = fresh()

    async def session() -> list[Any]:
        async with redis_asyncio.Redis(**address()) as client:
            await client.xgroup_create(name, GROUP, mkstream=True)
            async with tracer.step("p2p.purchase_order.dispatched", keys=PO):
                await asyncio.create_task(client.xadd(name, {"body": "{}"}))
                async with client.pipeline() as pipeline:
                    pipeline.xadd(name, {"body": "{}"})
                    (second,) = await pipeline.execute()
            entries = entries_of(await client.xreadgroup(GROUP, "one", {name: ">"}, block=5000))
            assert entries[1][0] == second
            for entry in entries:
                async with tracer.processing(entry), tracer.step("p2p.purchase_order.acknowledged"):
                    await client.xack(name, GROUP, entry[0])
            with pytest.raises(redis.ResponseError):
                await client.xadd(name, {"n": 1}, id="0-0")
            await client.delete(name)
            return entries

    entries = asyncio.run(session())

    assert [fields for _, fields in entries] == [{b"body": b"{}"}] * 2
    *sent, refused = of(captured, "send")
    assert attribute(refused, "error.type") == "redis.exceptions.ResponseError"
    assert_linked(only(captured, "receive"), *sent)
    assert [attribute(span, "controltower.key.purchase_order") for span in of(captured, "process")] == ["PO-1042"] * 2


def test_a_server_that_is_gone() -> None:
    """The host gets the library's own exception, and the span of the send has its type."""
    where = address()
    with hooked("redis") as captured, relay(where["host"], where["port"]) as (port, cut):
        client = redis.Redis(port=port, retry=None)
        client.ping()
        cut()
        with client, pytest.raises(redis.ConnectionError):
            client.xadd("orders", {"n": 1})
        pipeline = client.pipeline().xadd("orders", {"n": 1})
        with pytest.raises(redis.ConnectionError):
            pipeline.execute()

    assert [attribute(span, "error.type") for span in of(captured, "send")] == ["redis.exceptions.ConnectionError"] * 2


def test_keys_by_rules(captured: Captured, client: Client, stream: str) -> None:
    """An entry of somebody without a hook has the keys that a rule finds in its fields."""
    tracer.instrument("redis", extract={"orders.*": {"invoice": "header:invoice"}})
    with unhooked():
        client.xadd(stream, {"invoice": "I-7"})
    client.xadd(f"{stream}.sent", {"invoice": "I-8"}, maxlen=1)
    client.delete(f"{stream}.sent")
    client.xreadgroup(GROUP, "one", {stream: ">"})

    assert attribute(only(captured, "send"), "controltower.key.invoice") == "I-8"
    assert attribute(only(captured, "receive"), "controltower.key.invoice") == "I-7"
