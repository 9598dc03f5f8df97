"""What steps and hooks cost: ``python -m bench.hooks [--messages 4000] [--rounds 7]``, with RabbitMQ and Redis here.

Processor time of a step with a key beside a plain span with its attributes, and of a message sent and handled, below a
step with a key: without a hook, with the spans and headers that plain OpenTelemetry would make, written by hand, and
with ours. Spans are made and thrown away.
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
CODE: Final = "p2p.purchase_order.dispatched"
NUMBER: Final = "PO-1042"
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


def steps_of(side: str, steps: int) -> float:
    """Return the processor time of a step, or of a plain span with its attributes, in microseconds."""
    system = tracer.System(service="bench", own_traces=False, exporter=Nowhere(), mode="production")
    plain = TracerProvider()
    plain.add_span_processor(BatchSpanProcessor(Nowhere()))
    by_hand = plain.get_tracer("bench")
    described = {"controltower.step": CODE, "controltower.key.purchase_order": NUMBER}
    try:
        begun = time.process_time()
        for _ in range(steps):
            if side == "plain":
                with by_hand.start_as_current_span(CODE, attributes=described):
                    pass
            else:
                with system.step(CODE, keys={"purchase_order": NUMBER}):
                    pass
        return (time.process_time() - begun) / steps * 1e6
    finally:
        system.shutdown()
        plain.shutdown()


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
            with tracer.step(CODE, keys={"purchase_order": NUMBER}):
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
    """Run the rounds, alternating, and print a line for steps and one for each library."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    compare("step", ("plain", "ours"), given.rounds, lambda side: steps_of(side, given.messages))
    sides = ("none", "plain", "ours")
    compare("pika", sides, given.rounds, lambda side: round_of(rabbitmq, side, "pika", given.messages))
    compare("redis", sides, given.rounds, lambda side: round_of(streams, side, "redis", given.messages))


def compare(name: str, sides: Sequence[str], rounds: int, measure: Callable[[str], float]) -> None:
    """Let the sides take turns, and print a line."""
    found: dict[str, list[float]] = {side: [] for side in sides}
    for turn in range(rounds + 1):
        for side, times in found.items():
            taken = measure(side)
            if turn:  # the first one warms up
                times.append(taken)
    print(f"{name}: " + ", ".join(f"{side} {_spread(times)} µs" for side, times in found.items()))


def _spread(times: list[float]) -> str:
    return f"{statistics.median(times):.0f} ({min(times):.0f} to {max(times):.0f})"


if __name__ == "__main__":
    main()
