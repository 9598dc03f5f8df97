"""NATS, core and JetStream: what is published, handed to a callback, fetched, and given back."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from opentelemetry import context as otel_context

from controltower.tracer import attributes
from controltower.tracer.integrations.arrival import Arrival, arrival_of, read_headers, remember
from controltower.tracer.integrations.extract import keys_in
from controltower.tracer.integrations.messaging import Handling, Sending, Settling, Used, pulled
from controltower.tracer.integrations.patches import Function, Patches
from controltower.tracer.integrations.place import Place, Plain, place_at

SYSTEM: Final = "nats"
OWN: Final = "$"  # subjects of the server's own: acknowledgements, the API, key-value buckets
INBOX: Final = "_INBOX."
NO_HEADERS: Final = "nats_without_headers"

_WITHIN = otel_context.create_key("controltower-nats")  # a call of the library that makes further ones


def hook(patches: Patches, used: Used) -> None:
    """Replace the methods of clients, subscriptions and messages."""
    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription, _SubscriptionMessageIterator
    from nats.js.client import JetStreamContext

    hooks = _Hooks(patches, used)
    patches.method(Client, "publish", hooks.publish)
    patches.method(JetStreamContext, "publish", hooks.publish_to_stream)
    patches.method(Client, "subscribe", hooks.subscribe)
    patches.method(Subscription, "next_msg", hooks.next_msg)
    patches.method(_SubscriptionMessageIterator, "__anext__", hooks.following)
    patches.method(JetStreamContext.PullSubscription, "fetch", hooks.fetch)
    patches.method(Msg, "nak", hooks.nak)
    patches.method(Msg, "term", hooks.term)


class _Hooks:
    """Makes the replacements. Each leaves arguments and results as they are, but for the headers of what is sent."""

    def __init__(self, patches: Patches, used: Used) -> None:
        self._patches = patches
        self._used = used

    # -- sending

    def publish(self, original: Function) -> Function:
        async def publish(client: Any, subject: str, payload: bytes = b"", reply: str = "", headers: Any = None) -> Any:
            if otel_context.get_value(_WITHIN) or not isinstance(subject, str) or subject.startswith(OWN):
                return await original(client, subject, payload, reply, headers)
            with self._sending(client, subject, headers, payload) as sending:
                return await original(client, subject, payload, reply, self._marked(client, sending, headers))

        return publish

    def publish_to_stream(self, original: Function) -> Function:
        async def publish(
            stream: Any,
            subject: str,
            payload: bytes = b"",
            timeout: float | None = None,
            to: str | None = None,
            headers: Any = None,
            **named: Any,
        ) -> Any:
            to = named.pop("stream", to)
            if not isinstance(subject, str) or subject.startswith(OWN):
                return await original(stream, subject, payload, timeout, to, headers, **named)
            client = stream._nc
            with self._sending(client, subject, headers, payload) as sending:
                marked = self._marked(client, sending, headers)
                token = otel_context.attach(otel_context.set_value(_WITHIN, True))
                try:
                    answer = await original(stream, subject, payload, timeout, to, marked, **named)
                finally:
                    otel_context.detach(token)
                duplicate = {attributes.OUTCOME: "duplicate"} if answer.duplicate else None
                sending.delivered(f"{answer.stream}:{answer.seq}", duplicate)
                return answer

        return publish

    def _sending(self, client: Any, subject: str, headers: Any, payload: object) -> Sending:
        given = headers.items() if isinstance(headers, Mapping) else ()
        return Sending(self._used(), _place(client, subject, ""), "publish", given=given, body=payload)

    def _marked(self, client: Any, sending: Sending, headers: Any) -> Any:
        """Return *headers* with ours, unless the server takes none."""
        if not client._server_info.get("headers"):
            self._used().guard.count(NO_HEADERS)
            return headers
        return dict(sending.headers((headers or {}).items())) or None

    # -- receiving

    def subscribe(self, original: Function) -> Function:
        async def subscribe(
            client: Any, subject: str, queue: str = "", cb: Any = None, *rest: Any, **named: Any
        ) -> Any:
            if cb is not None and getattr(cb, "__self__", None) is not client:
                cb = self._handler(subject, queue, cb)
            return await original(client, subject, queue, cb, *rest, **named)

        return subscribe

    def _handler(self, subject: str, queue: str, callback: Function) -> Function:
        async def on_message(message: Any) -> Any:
            arrival = self._arrived(message, subject, queue) if self._patches.active else None
            with Handling(self._used, message, arrival, detached=True):
                return await callback(message)

        return on_message

    def next_msg(self, original: Function) -> Function:
        async def next_msg(subscription: Any, *arguments: Any, **named: Any) -> Any:
            message = await original(subscription, *arguments, **named)
            self._received("receive", subscription, [message])
            return message

        return next_msg

    def following(self, original: Function) -> Function:
        async def following(iterator: Any) -> Any:
            message = await original(iterator)
            self._received("receive", iterator._sub, [message])
            return message

        return following

    def fetch(self, original: Function) -> Function:
        async def fetch(subscription: Any, *arguments: Any, **named: Any) -> Any:
            token = otel_context.attach(otel_context.set_value(_WITHIN, True))
            try:
                messages = await original(subscription, *arguments, **named)
            finally:
                otel_context.detach(token)
            self._received("fetch", subscription._sub, messages, batch=True)
            return messages

        return fetch

    def _received(self, operation: str, subscription: Any, messages: Sequence[Any], *, batch: bool = False) -> None:
        if otel_context.get_value(_WITHIN):
            return
        new = [message for message in messages if arrival_of(message) is None]
        found = [self._arrived(message, subscription.subject, subscription.queue) for message in new]
        pulled(self._used(), operation, [arrival for arrival in found if arrival is not None], batch=batch)

    def _arrived(self, message: Any, subscribed: str, queue: str) -> Arrival | None:
        if message.subject.startswith(OWN):
            return None
        system = self._used()
        with system.guard.around("NATS hook"):
            keys = keys_in(system, message.subject, (message.headers or {}).items(), message.data)
            arrival = _arrival(message, subscribed, queue, keys)
            remember(message, arrival)
            return arrival
        return None

    # -- giving back

    def nak(self, original: Function) -> Function:
        return self._settle("nak", original, requeued=True)

    def term(self, original: Function) -> Function:
        return self._settle("term", original, requeued=False)

    def _settle(self, operation: str, original: Function, *, requeued: bool) -> Function:
        async def settle(message: Any, *arguments: Any, **named: Any) -> Any:
            arrival = arrival_of(message)
            with Settling(self._used, operation, [] if arrival is None else [arrival], requeued=requeued):
                return await original(message, *arguments, **named)

        return settle


def _arrival(message: Any, subscribed: str, queue: str, keys: Mapping[str, tuple[str, ...]]) -> Arrival:
    client, headers = message._client, read_headers((message.headers or {}).items())
    others: dict[str, Plain] = {"messaging.consumer.group.name": queue} if queue else {}
    if not message.reply.startswith("$JS.ACK."):
        return Arrival(_place(client, message.subject, subscribed), headers, others=others, keys=keys)
    stored = message.metadata
    others["messaging.consumer.group.name"] = queue or stored.consumer
    return Arrival(
        _place(client, message.subject, "" if subscribed.startswith(INBOX) else subscribed),
        headers,
        message_id=f"{stored.stream}:{stored.sequence.stream}",
        sent_ns=int(stored.timestamp.timestamp() * 1_000_000) * 1_000,
        redelivered=stored.num_delivered > 1,
        delivery_count=stored.num_delivered,
        others=others,
        keys=keys,
    )


def _place(client: Any, subject: str, subscribed: str) -> Place:
    address = client.connected_url
    host, port = (address.hostname or "", address.port) if address is not None else ("", None)
    if subject.startswith(INBOX):  # an address for one answer
        return place_at(SYSTEM, INBOX.rstrip("."), host, port, (("messaging.destination.temporary", True),))
    template = subscribed if subscribed != subject else ""
    return place_at(SYSTEM, subject, host, port, (), template)
