"""confluent-kafka: what is produced, and what is polled and consumed.

Its clients are written in C and cannot be changed, so the names in its module are replaced by classes derived from them.
"""

from collections.abc import Mapping
from typing import Any, Final

from controltower.tracer.default import system as process_system
from controltower.tracer.integrations import kafka
from controltower.tracer.integrations.arrival import Arrival, read_with
from controltower.tracer.integrations.messaging import Sending, Used, pulled
from controltower.tracer.integrations.patches import Function, Patches

WHERE: Final = "_controltower_where"  # of a client: its servers and its group
PRODUCE: Final = ("topic", "value", "key", "partition", "callback", "on_delivery", "timestamp", "headers")
SERIALIZING: Final = ("topic", "key", "value", "partition", "on_delivery", "timestamp", "headers")
CALLBACKS: Final = ("on_delivery", "callback")


def hook(patches: Patches, used: Used) -> None:
    """Replace the clients of the module, and change those that are written in Python."""
    import confluent_kafka
    from confluent_kafka import cimpl

    hooks = _Hooks(used)
    producer = {"__init__": hooks.client, "produce": hooks.produce(PRODUCE)}
    consumer = {"__init__": hooks.client, "poll": hooks.poll, "consume": hooks.consume}
    for name, makes in (("Producer", producer), ("Consumer", consumer)):
        base = getattr(confluent_kafka, name)
        methods = {
            each: patches.function(getattr(base, each), make(getattr(base, each))) for each, make in makes.items()
        }
        patches.value(confluent_kafka, name, type(name, (base,), {**methods, "__module__": base.__module__}), base)
    for derived, makes in (
        (confluent_kafka.SerializingProducer, {**producer, "produce": hooks.produce(SERIALIZING)}),
        (confluent_kafka.DeserializingConsumer, consumer),
    ):
        for name, make in makes.items():
            patches.method(derived, name, make)
    patches.later(read_with(cimpl.Message, lambda message: _arrival(process_system(), None, message)))


class _Hooks:
    """Makes the replacements. Each leaves arguments and results as they are, but for the headers of what is sent."""

    def __init__(self, used: Used) -> None:
        self._used = used

    def client(self, original: Function) -> Function:
        def __init__(client: Any, *arguments: Any, **named: Any) -> None:
            original(client, *arguments, **named)
            given = {**(arguments[0] if arguments else {}), **named}
            servers = given.get("bootstrap.servers", given.get("bootstrap_servers", ""))
            setattr(client, WHERE, (servers, given.get("group.id", given.get("group_id", ""))))

        return __init__

    def produce(self, order: tuple[str, ...]) -> Any:
        def make(original: Function) -> Function:
            def produce(client: Any, *arguments: Any, **named: Any) -> Any:
                if len(arguments) > len(order):
                    return original(client, *arguments, **named)  # it says what is wrong with them
                given = {**dict(zip(order, arguments, strict=False)), **named}
                headers = given.get("headers") or ()
                pairs = list(headers.items() if isinstance(headers, Mapping) else headers)
                place = kafka.place_of(str(given.get("topic", "")), getattr(client, WHERE, ("", ""))[0])
                with Sending(self._used(), place, "produce", given=pairs, body=given.get("value")) as sending:
                    if marked := sending.headers(pairs, str.encode):
                        given["headers"] = marked
                    name = next((each for each in CALLBACKS if given.get(each) is not None), None)
                    # Without a callback of the host's nobody may poll, and reports would fill the producer's queue.
                    if name is not None:
                        given[name] = _reporting(sending, given[name])
                        sending.hold()
                    return original(client, **given)

            return produce

        return make

    def poll(self, original: Function) -> Function:
        def poll(client: Any, *arguments: Any, **named: Any) -> Any:
            message = original(client, *arguments, **named)
            self._received("poll", client, [message], batch=False)
            return message

        return poll

    def consume(self, original: Function) -> Function:
        def consume(client: Any, *arguments: Any, **named: Any) -> Any:
            messages = original(client, *arguments, **named)
            self._received("consume", client, messages, batch=True)
            return messages

        return consume

    def _received(self, operation: str, client: Any, messages: list[Any], *, batch: bool) -> None:
        system = self._used()
        with system.guard.around("Kafka hook"):
            arrived = [_arrival(system, client, message) for message in messages if message is not None]
            pulled(system, operation, [arrival for arrival in arrived if arrival is not None], batch=batch)


def _reporting(sending: Sending, callback: Function) -> Function:
    """Return *callback* so that the span ends with the report of the broker."""

    def report(error: Any, message: Any) -> Any:
        if error is None:
            sending.delivered(others=kafka.delivered_at(message.partition(), message.offset()))
        sending.end(None if error is None else error.name())
        return callback(error, message)

    return report


def _arrival(system: Any, client: Any, message: Any) -> Arrival | None:
    """Return how *message* arrived; ``None`` for one that only tells of an error or of the end of a partition."""
    if message.error() is not None:
        return None
    servers, group = getattr(client, WHERE, ("", ""))
    kind, timestamp_ms = message.timestamp()
    return kafka.arrival_of(
        system,
        kafka.place_of(message.topic(), servers, group),
        message.headers(),
        message.value(),
        partition=message.partition(),
        offset=message.offset(),
        timestamp_ms=timestamp_ms if kind else 0,
    )
