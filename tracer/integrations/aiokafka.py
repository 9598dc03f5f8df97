"""aiokafka: what is sent, and what is fetched, one by one or many at once."""

from typing import Any

from controltower.tracer.integrations import kafka
from controltower.tracer.integrations.arrival import Arrival, remember
from controltower.tracer.integrations.messaging import Sending, Used, pulled
from controltower.tracer.integrations.patches import Function, Patches


def hook(patches: Patches, used: Used) -> None:
    """Replace the methods of producers and consumers; a loop over a consumer fetches by ``getone``."""
    from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

    hooks = _Hooks(used)
    patches.method(AIOKafkaProducer, "send", hooks.send)
    patches.method(AIOKafkaConsumer, "getone", hooks.getone)
    patches.method(AIOKafkaConsumer, "getmany", hooks.getmany)


class _Hooks:
    """Makes the replacements. Each leaves arguments and results as they are, but for the headers of what is sent."""

    def __init__(self, used: Used) -> None:
        self._used = used

    def send(self, original: Function) -> Function:
        async def send(
            producer: Any,
            topic: str,
            value: Any = None,
            key: Any = None,
            partition: int | None = None,
            timestamp_ms: int | None = None,
            headers: Any = None,
        ) -> Any:
            pairs = list(headers or ())
            place = kafka.place_of(topic, _servers(producer))
            with Sending(self._used(), place, "send", given=pairs, body=value) as sending:
                marked = sending.headers(pairs, str.encode) or headers
                future = await original(producer, topic, value, key, partition, timestamp_ms, marked)
                sending.hold()
                future.add_done_callback(lambda done: _report(sending, done))
                return future

        return send

    def getone(self, original: Function) -> Function:
        async def getone(consumer: Any, *partitions: Any) -> Any:
            record = await original(consumer, *partitions)
            self._received("getone", consumer, [record], batch=False)
            return record

        return getone

    def getmany(self, original: Function) -> Function:
        async def getmany(consumer: Any, *partitions: Any, **named: Any) -> Any:
            records = await original(consumer, *partitions, **named)
            self._received("getmany", consumer, [each for some in records.values() for each in some], batch=True)
            return records

        return getmany

    def _received(self, operation: str, consumer: Any, records: list[Any], *, batch: bool) -> None:
        system = self._used()
        with system.guard.around("Kafka hook"):
            servers, group = _servers(consumer), consumer._group_id
            arrivals: list[Arrival] = []
            for record in records:
                arrival = kafka.arrival_of(
                    system,
                    kafka.place_of(record.topic, servers, group),
                    record.headers,
                    record.value,
                    partition=record.partition,
                    offset=record.offset,
                    timestamp_ms=record.timestamp,
                )
                remember(record, arrival)
                arrivals.append(arrival)
            pulled(system, operation, arrivals, batch=batch)


def _report(sending: Sending, done: Any) -> None:
    """End the span with what the broker answered."""
    if done.cancelled():
        sending.end("cancelled")
        return
    error = done.exception()
    if error is None:
        sending.delivered(others=kafka.delivered_at(done.result().partition, done.result().offset))
    sending.end(error)


def _servers(client: Any) -> Any:
    return getattr(getattr(client, "client", None) or getattr(client, "_client", None), "_bootstrap_servers", "")
