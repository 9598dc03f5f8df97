"""What steps and hooks cost: ``python -m bench.hooks [--messages 4000] [--rounds 7]``, with RabbitMQ and Redis here.

Processor time of a step with a key beside a plain span with its attributes, and of a message sent and handled, below a
step with a key, on four sides: ``none``, without a hook; ``plain``, with the two spans, the link and the header that
OpenTelemetry's own instrumentations make; ``same``, with all spans, attributes, links and headers that our hook makes,
written by hand with OpenTelemetry's API; and ``ours``. That the last two are alike is checked first. Spans are made and
thrown away.
"""

import argparse
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from opentelemetry import baggage, context
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from bench.by_hand import KEY, ByHand, Headers, Place
from controltower import tracer
from controltower.tracer.default import install

QUEUE: Final = "controltower.bench"
GROUP: Final = "bench"
BODY: Final = b'{"order": {"number": "PO-1042"}}'
CODE: Final = "p2p.purchase_order.dispatched"
NUMBER: Final = "PO-1042"
SIDES: Final = ("none", "plain", "same", "ours")
PLACES: Final = {
    "pika": Place("rabbitmq", QUEUE, 5672, "publish"),
    "redis": Place("redis", QUEUE, 6379, "xadd", GROUP),
}
Send = Callable[[Headers], str | None]  # gives the id of the message, where the broker tells it
Drain = Callable[[int, ByHand | None], None]


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

        def send(headers: Headers) -> None:
            channel.basic_publish("", QUEUE, BODY, pika.BasicProperties(headers=headers) if headers else None)

        def drain(count: int, by_hand: ByHand | None) -> None:
            left = [count]

            def on_message(receiver: Any, method: Any, properties: Any, body: bytes) -> None:
                left[0] -= 1
                if by_hand is not None:
                    with by_hand.processing(
                        properties.headers, {"messaging.rabbitmq.message.delivery_tag": method.delivery_tag}
                    ):
                        pass

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

        def send(headers: Headers) -> str:
            return client.xadd(QUEUE, {"body": BODY, **headers}).decode()

        def drain(count: int, by_hand: ByHand | None) -> None:
            while count:
                for _, entries in client.xreadgroup(GROUP, "one", {QUEUE: ">"}, count=100):
                    count -= len(entries)
                    if by_hand is not None:
                        work_by_hand(by_hand, entries)
                    else:
                        work(entries)

        try:
            yield send, drain
        finally:
            client.delete(QUEUE)


def work(entries: list[Any]) -> None:
    """Work on entries as a service with or without our hook does."""
    for entry in entries:
        if hasattr(entry[1], "_controltower_arrival"):
            with tracer.processing(entry):
                pass


def work_by_hand(by_hand: ByHand, entries: list[Any]) -> None:
    """Work on entries as a service does that writes its spans by hand."""
    messages = [
        ({name.decode(): value.decode() for name, value in fields.items()}, {"messaging.message.id": id_.decode()})
        for id_, fields in entries
    ]
    by_hand.received(messages)
    for headers, facts in messages:
        with by_hand.processing(headers, facts):
            pass


LIBRARIES: Final[dict[str, Callable[[], Any]]] = {"pika": rabbitmq, "redis": streams}
CALLS: Final = {"pika": 2, "redis": 2}  # that a hook does for a message; the fetch is shared by a hundred


def steps_of(side: str, steps: int) -> float:
    """Return the processor time of a step, or of a plain span with its attributes, in microseconds."""
    system = tracer.System(service="bench", own_traces=False, exporter=Nowhere(), mode="production")
    plain = TracerProvider()
    plain.add_span_processor(BatchSpanProcessor(Nowhere()))
    by_hand = plain.get_tracer("bench")
    described = {"controltower.step": CODE, KEY: NUMBER}
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


def messages_of(name: str, side: str, messages: int, exporter: SpanExporter | None = None) -> float:
    """Return the processor time of a message in microseconds; spans go to *exporter* one by one when there is one."""
    system = tracer.System(service="bench", own_traces=False, exporter=exporter or Nowhere(), mode="production")
    plain = TracerProvider()
    plain.add_span_processor(SimpleSpanProcessor(exporter) if exporter else BatchSpanProcessor(Nowhere()))
    former = install(system, stop_former=False)
    if side == "ours":
        tracer.instrument(name)
    by_hand = None
    if side in ("plain", "same"):
        by_hand = ByHand(plain.get_tracer("bench"), PLACES[name], everything=side == "same")
    try:
        with LIBRARIES[name]() as (send, drain):
            begun = time.process_time()
            with tracer.step(CODE, keys={"purchase_order": NUMBER}):
                send_all(send, messages, by_hand)
            drain(messages, by_hand)
            return (time.process_time() - begun) / messages * 1e6
    finally:
        tracer.uninstrument()
        install(former, stop_former=False)
        system.shutdown()
        plain.shutdown()


def send_all(send: Send, messages: int, by_hand: ByHand | None) -> None:
    """Send *messages* with the key that travels."""
    if by_hand is None:
        for _ in range(messages):
            send({})
        return
    token = context.attach(baggage.set_baggage(KEY, NUMBER) if by_hand.everything else context.get_current())
    for _ in range(messages):
        headers: Headers = {}
        with by_hand.sending() as span:
            by_hand.mark(headers)
            by_hand.sent(span, send(headers))
    context.detach(token)


def check(name: str) -> None:
    """End the program unless the spans of ``same`` and ``ours`` hold the same."""
    held = {}
    for side in ("same", "ours"):
        exporter = InMemorySpanExporter()
        messages_of(name, side, 2, exporter)  # of one alone the facts are on the span of the fetch
        held[side] = contents(exporter.get_finished_spans())
    if held["same"] != held["ours"]:
        raise SystemExit(
            f"{name}: what is written by hand is not what the hook makes; bench/by_hand.py is to be mended"
        )


def contents(spans: Sequence[ReadableSpan]) -> list[str]:
    """Return each span that is no step: its name, its attributes' names, and its links with theirs."""
    found = Counter[str]()
    for span in spans:
        if span.name != CODE:
            links = [sorted(link.attributes or ()) for link in span.links]
            found[f"{span.name} {span.kind.name} {sorted(span.attributes or ())} links {links}"] += 1
    return [f"{count} {text}" for text, count in sorted(found.items())]


def main() -> None:
    """Run the rounds, alternating, and print a line for steps and one for each library."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    for name in LIBRARIES:
        check(name)
    compare("step", ("plain", "ours"), 1, given.rounds, lambda side: steps_of(side, given.messages))
    for name, calls in CALLS.items():
        compare(name, SIDES, calls, given.rounds, lambda side, name=name: messages_of(name, side, given.messages))


def compare(name: str, sides: Sequence[str], calls: int, rounds: int, measure: Callable[[str], float]) -> None:
    """Let the sides take turns, and print a line; what ours takes more is of one of *calls*."""
    found: dict[str, list[float]] = {side: [] for side in sides}
    for turn in range(rounds + 1):
        for side, times in found.items():
            taken = measure(side)
            if turn:  # the first one warms up
                times.append(taken)
    other = sides[-2]
    sums = ", ".join(f"{side} {_spread(times)}" for side, times in found.items())
    more = statistics.median(found["ours"]) - statistics.median(found[other]), min(found["ours"]) - min(found[other])
    print(
        f"{name}, µs: {sums}; ours more than {other}, of each call: {more[0] / calls:.0f}, of the least {more[1] / calls:.0f}"
    )


def _spread(times: list[float]) -> str:
    return f"{statistics.median(times):.0f} ({min(times):.0f} to {max(times):.0f})"


if __name__ == "__main__":
    main()
