"""What a hook costs a message: ``python -m bench.hooks [--messages 4000] [--rounds 7]``, with RabbitMQ and Redis here.

Processor time of a message sent and handled, below a step with a key: without a hook, with the spans and headers that
plain OpenTelemetry would make, written by hand, and with ours. Spans are made and thrown away.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from opentelemetry import propagate, trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Link, SpanKind

from controltower import tracer
from controltower.tracer.default import install

QUEUE: Final = "controltower.bench"
GROUP: Final = "bench"
BODY: Final = b'{"order": {"number": "PO-1042"}}'
ATTRIBUTES: Final = {
    "messaging.system": "rabbitmq",
    "messaging.destination.name": QUEUE,
    "messaging.operation.name": "publish",
    "messaging.operation.type": "send",
    "server.address": "127.0.0.1",
    "server.port": 5672,
}
Send = Callable[[dict[str, str]], None]
Drain = Callable[[int, Callable[[dict[str, Any]], None]], None]
Around = Callable[[Send], Send]


class Nowhere(SpanExporter):
    """Takes spans and forgets them."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Forget *spans*."""
        return SpanExportResult.SUCCESS


@contextmanager
def rabbitmq() -> Iterator[tuple[Send, Drain]]:
    """Send to a queue, and have its messages handed to a callback."""
    import pika

    with pika.BlockingConnection() as connection:
        channel = connection.channel()
        channel.queue_declare(QUEUE, exclusive=True)

        def send(headers: dict[str, str]) -> None:
            channel.basic_publish("", QUEUE, BODY, pika.BasicProperties(headers=headers) if headers else None)

        def drain(count: int, handle: Callable[[dict[str, Any]], None]) -> None:
            left = [count]

            def on_message(receiver: Any, method: Any, properties: Any, body: bytes) -> None:
                handle(properties.headers or {})
                left[0] -= 1

            tag = channel.basic_consume(QUEUE, on_message, auto_ack=True)
            while left[0]:
                connection.process_data_events(time_limit=1)
            channel.basic_cancel(tag)

        yield send, drain


@contextmanager
def streams() -> Iterator[tuple[Send, Drain]]:
    """Add to a stream, and read it in a group, a hundred entries at a time."""
    import redis

    with redis.Redis(protocol=2) as client:
        client.delete(QUEUE)
        client.xgroup_create(QUEUE, GROUP, mkstream=True)

        def send(headers: dict[str, str]) -> None:
            client.xadd(QUEUE, {"body": BODY, **headers})

        def drain(count: int, handle: Callable[[dict[str, Any]], None]) -> None:
            while count:
                for _, entries in client.xreadgroup(GROUP, "one", {QUEUE: ">"}, count=100):
                    for entry in entries:
                        with tracer.processing(entry) if hasattr(entry[1], "_controltower_arrival") else Nothing():
                            handle({name.decode(): value.decode() for name, value in entry[1].items()})
                        count -= 1

        try:
            yield send, drain
        finally:
            client.delete(QUEUE)


class Nothing:
    """Around nothing."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass


def round_of(kind: Callable[[], Any], side: str, name: str, messages: int) -> float:
    """Return the processor time of a message in microseconds."""
    system = tracer.System(service="bench", own_traces=False, exporter=Nowhere(), mode="production")
    plain = TracerProvider()
    plain.add_span_processor(BatchSpanProcessor(Nowhere()))
    by_hand = plain.get_tracer("bench")
    former = install(system, stop_former=False)
    if side == "ours":
        tracer.instrument(name)

    def handle(headers: dict[str, Any]) -> None:
        if side == "plain":
            sender = trace.get_current_span(propagate.extract(headers)).get_span_context()
            with by_hand.start_as_current_span(
                f"process {QUEUE}", kind=SpanKind.CONSUMER, attributes=ATTRIBUTES, links=[Link(sender)]
            ):
                pass

    try:
        with kind() as (send, drain):
            begun = time.process_time()
            with tracer.step("p2p.purchase_order.dispatched", keys={"purchase_order": "PO-1042"}):
                for _ in range(messages):
                    headers: dict[str, str] = {}
                    if side == "plain":
                        with by_hand.start_as_current_span(
                            f"send {QUEUE}", kind=SpanKind.PRODUCER, attributes=ATTRIBUTES
                        ):
                            propagate.inject(headers)
                            send(headers)
                    else:
                        send(headers)
            drain(messages, handle)
            return (time.process_time() - begun) / messages * 1e6
    finally:
        tracer.uninstrument()
        install(former, stop_former=False)
        system.shutdown()
        plain.shutdown()


def main() -> None:
    """Run the rounds, alternating, and print a line for each library."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    for name, kind in (("pika", rabbitmq), ("redis", streams)):
        found: dict[str, list[float]] = {"none": [], "plain": [], "ours": []}
        for turn in range(given.rounds + 1):
            for side, times in found.items():
                taken = round_of(kind, side, name, given.messages)
                if turn:  # the first one warms up
                    times.append(taken)
        print(f"{name}: " + ", ".join(f"{side} {_spread(times)} µs" for side, times in found.items()))


def _spread(times: list[float]) -> str:
    return f"{statistics.median(times):.0f} ({min(times):.0f} to {max(times):.0f})"


if __name__ == "__main__":
    main()
